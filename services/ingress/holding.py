"""An operation that needs people: wait for them on behalf of the caller, then spend what they gave.

Shared by every protocol. The bucket's entry is the truth; the verdict on the bus only makes it quick. A caller that
leaves withdraws its question.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from schemas.approvals import ApprovalRecord
from schemas.events import ApprovalState, OperationAttempted, Outcome
from schemas.verdicts import Decision, Verdict
from services.ingress.countersigned import Countersigned
from services.ingress.emit import Emitter
from services.ingress.errors import Denied, NotDecided, denied
from services.ingress.gate import Gate
from services.ingress.limiter import Limiter, TooManyHeld
from services.ingress.withdrawing import Caller, withdraw
from services.runtime.tasks import heed_cancellation

log = structlog.get_logger(__name__)

#: The code of a refusal that leaves the question open: nobody has decided while the caller waited.
PENDING = "approval_pending"
#: Seconds by which clocks of two machines may differ.
SKEW = 60.0
_UUIDV7 = 7
#: Seconds between two looks at the entry, should the verdict's message have been lost.
POLL = 1.0

_ENDED = {
    ApprovalState.DENIED: ("denied", Outcome.DENIED),
    ApprovalState.EXPIRED: ("approval_expired", Outcome.EXPIRED),
    ApprovalState.WITHDRAWN: ("approval_withdrawn", Outcome.WITHDRAWN),
    ApprovalState.SPENT: ("approval_refused", Outcome.DENIED),
}


@dataclass
class Holding:
    """Waits for people."""

    gate: Gate
    emitter: Emitter
    countersigned: Countersigned
    limiter: Limiter
    #: Set when the ingress is going down.
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(
        self,
        attempt: OperationAttempted,
        held: Verdict,
        why_left: Callable[[], str] = lambda: "the caller disconnected",
        *,
        resumable: bool = False,
    ) -> Verdict:
        """The allowing verdict, its approval spent, or a Denied, or NotDecided when it could not be spent.

        Waits at most `attempt.asked.wait_seconds`. Cancelled, it withdraws the question with the words of `why_left`.
        A caller that is `resumable` can come back for the answer: when the ingress goes down, the question stays open.
        """
        deadline = time.monotonic() + attempt.asked.wait_seconds
        try:
            with self.limiter.waiting_for_people(attempt.identity.key):
                async with self.gate.people(attempt.operation_id) as answers:
                    record = await self._decided(attempt, held, answers, deadline, resumable=resumable)
            return await self._use(record, attempt, held)
        except asyncio.CancelledError:
            self.withdraw(attempt, held, why_left())
            raise
        except TooManyHeld:
            self.withdraw(attempt, held, "too many wait for people already")
            raise

    async def _decided(
        self,
        attempt: OperationAttempted,
        held: Verdict,
        answers: asyncio.Queue[Verdict],
        deadline: float,
        *,
        resumable: bool,
    ) -> ApprovalRecord:
        """The entry once people have decided. Raises Denied or NotDecided when the caller waits no longer."""
        while True:
            record = await self._settled_by_now(attempt, held)
            heed_cancellation()
            if record:
                return record
            if (left := deadline - time.monotonic()) <= 0:
                raise _timed_out(held)
            if resumable and self.leaving.is_set():
                await self.countersigned.leave_open(held.approval_id or "-")
                raise _going_down(held)
            await _next(answers.get, min(POLL, left))

    async def use_presented(self, attempt: OperationAttempted, held: Verdict) -> Verdict:
        """The verdict for a caller that presents an approval and does not wait; None while people have not decided."""
        if record := await self._settled(attempt, held):
            return await self._use(record, attempt, held)
        return held

    def withdraw(self, attempt: OperationAttempted, held: Verdict, reason: str) -> None:
        """Take the question back, unless it belongs to an earlier request that did not wait."""
        withdraw(self.emitter, Caller.of(attempt), held, reason)

    async def _settled_by_now(self, attempt: OperationAttempted, held: Verdict) -> ApprovalRecord | None:
        """As `_settled`; while the bus is away nothing is settled, and the caller waits on, up to its deadline."""
        try:
            return await self._settled(attempt, held)
        except NotDecided as error:
            log.warning("approval not read now", approval_id=held.approval_id, reason=error.detail)
            return None

    async def _settled(self, attempt: OperationAttempted, held: Verdict) -> ApprovalRecord | None:
        """The entry once people have decided, else None.

        Raises Denied for a presented id that nobody knows, or that is somebody else's: both read the same.
        """
        record = await self.countersigned.load(held.approval_id or "-")
        if record is None:
            if held.approval_id == attempt.asked.approval_id and not _may_come_yet(attempt, held):
                raise _unknown(held)
            return None
        if not _asked_by(record, attempt):
            raise _unknown(held)
        return None if record.state in (ApprovalState.REQUESTED, ApprovalState.PARTLY_APPROVED) else record

    async def _use(self, record: ApprovalRecord, attempt: OperationAttempted, held: Verdict) -> Verdict:
        if ended := _ENDED.get(record.state):
            code, outcome = ended
            error = denied(_words(record), held.rules, code=code)
            error.outcome = outcome
            raise error
        spent = await self.countersigned.spend(record.request.approval_id, attempt, held)
        return held.model_copy(
            update={
                "decision": Decision.ALLOW,
                "approved_by": tuple(reviewer.label for reviewer in spent.approved_by),
                "reason": spent.reason or held.reason,
            }
        )


async def _next(get: Callable[[], Awaitable[Verdict]], timeout: float) -> None:
    """Wake on a verdict, or after a while; either way the entry is looked at."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await get()


def _asked_by(record: ApprovalRecord, attempt: OperationAttempted) -> bool:
    asked = record.request
    return (asked.identity.issuer, asked.identity.subject, asked.connector.name) == (
        attempt.identity.issuer,
        attempt.identity.subject,
        attempt.connector.name,
    )


def _may_come_yet(attempt: OperationAttempted, held: Verdict) -> bool:
    """Whether an id without an entry may be of a question the approver has not taken up: it is not away for longer.

    An id says when it was made (UUIDv7, RFC 9562, section 5.7); after the rule's `expires` there would be no answer.
    """
    made = UUID(held.approval_id)
    if made.version != _UUIDV7 or held.terms is None:
        return False
    age = attempt.at.timestamp() - (made.int >> 80) / 1000
    return -SKEW <= age <= (held.terms.expires_at - attempt.at).total_seconds()


def _unknown(held: Verdict) -> Denied:
    return denied("there is no such approval", held.rules, code="approval_refused")


def _words(record: ApprovalRecord) -> str:
    by = f" by {record.decided_by}" if record.decided_by else ""
    why = f": {record.reason}" if record.reason else ""
    return f"the approval is {record.state}{by}{why}"


def _timed_out(held: Verdict) -> Denied:
    error = _pending("nobody decided while the caller waited", held)
    error.outcome = Outcome.EXPIRED
    return error


def _going_down(held: Verdict) -> Denied:
    error = _pending("the gateway is going down while people decide", held)
    error.status, error.outcome = 503, Outcome.DEFERRED
    return error


def _pending(why: str, held: Verdict) -> Denied:
    again = f"the same request with `Countersign-Approval: {held.approval_id}` uses the answer"
    return denied(f"{why}; the question stays open until it expires, and {again}", held.rules, code=PENDING)
