"""The only place that asks for a verdict: publish the attempt, wait for JetStream's ack and for the decision.

An operation passes only with both (G1, G2). Whatever is late, missing or malformed is `NotDecided`. A verdict for an
operation that nobody waits for is ignored, but for a hold: people would be asked in vain, so the question is withdrawn.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from schemas import subjects
from schemas.events import OperationAttempted, VerdictReached
from schemas.verdicts import Decision, Verdict
from services.ingress.emit import Emitter, NotStored
from services.ingress.errors import not_decided
from services.ingress.withdrawing import Caller, withdraw

log = structlog.get_logger(__name__)

#: Callers that left whose verdict may still come: a minute of them at a hundred a second.
MAX_LEFT = 6000


@dataclass
class _Pending:
    """One operation under judgement: done when it is acked and judged, or when it failed."""

    done: asyncio.Future[Verdict]
    acked: bool = False
    verdict: Verdict | None = None

    def on_ack(self, problem: str | None) -> None:
        if problem is not None:
            self.fail(f"the audit log did not take the operation ({problem}); nothing was forwarded")
        self.acked = problem is None
        self._settle()

    def on_verdict(self, verdict: Verdict) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self._settle()

    def on_timeout(self) -> None:
        missing = "the audit log's ack" if not self.acked else "a verdict"
        self.fail(f"{missing} did not arrive in time; nothing was forwarded")

    def fail(self, detail: str) -> None:
        if not self.done.done():
            self.done.set_exception(not_decided(detail))

    def _settle(self) -> None:
        if self.acked and self.verdict is not None and not self.done.done():
            self.done.set_result(self.verdict)


@dataclass
class Gate:
    """Asks policy, and lets one operation wait for people."""

    client: Client
    emitter: Emitter
    timeout: float
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _people: dict[str, asyncio.Queue[Verdict]] = field(default_factory=dict)
    _left: dict[str, Caller] = field(default_factory=dict)

    async def start(self) -> None:
        """Listen for verdicts on this ingress's own subject."""
        await self.client.subscribe(subjects.verdicts_of(self.emitter.ingress), cb=self._on_message)

    @property
    def waiting(self) -> int:
        """Operations that wait for policy or people."""
        return len(self._pending) + len(self._people)

    async def judge(self, attempt: OperationAttempted) -> Verdict:
        """The policy's verdict on a recorded attempt. Raises NotDecided."""
        loop = asyncio.get_running_loop()
        pending = _Pending(loop.create_future())
        self._pending[attempt.operation_id] = pending
        timer = loop.call_later(self.timeout, pending.on_timeout)
        try:
            await self.emitter.publish(attempt, pending.on_ack)
            return await pending.done
        except NotStored as error:
            raise not_decided(f"the event bus is away ({error}); nothing was forwarded") from error
        except BaseException:
            self._leave(Caller.of(attempt), pending.verdict)
            raise
        finally:
            timer.cancel()
            del self._pending[attempt.operation_id]

    def _leave(self, caller: Caller, verdict: Verdict | None) -> None:
        """The caller has gone, or was told that nothing was decided: a hold, now or later, is for nobody."""
        if verdict is not None:
            self._nobody_waits(caller, verdict)
            return
        while len(self._left) >= MAX_LEFT:
            del self._left[next(iter(self._left))]
        self._left[caller.operation_id] = caller

    def _nobody_waits(self, caller: Caller, verdict: Verdict) -> None:
        if verdict.decision is Decision.HOLD:
            withdraw(self.emitter, caller, verdict, "the caller left before it was known that people decide")

    @asynccontextmanager
    async def people(self, operation_id: str) -> AsyncIterator[asyncio.Queue[Verdict]]:
        """While open, the approvers' verdicts on an operation arrive in the queue (at most a few; G10)."""
        queue: asyncio.Queue[Verdict] = asyncio.Queue(maxsize=4)
        self._people[operation_id] = queue
        try:
            yield queue
        finally:
            del self._people[operation_id]

    async def _on_message(self, message: Msg) -> None:
        try:
            reached = VerdictReached.model_validate_json(message.data)
        except ValidationError as error:
            log.error("malformed verdict ignored", errors=error.error_count(), subject=message.subject)
            return
        if message.subject != subjects.verdict(self.emitter.ingress, reached.operation_id, reached.by):
            log.error("verdict on another's subject ignored", subject=message.subject)
        elif reached.by == "policy":
            self._from_policy(reached)
        else:
            self._from_people(reached)

    def _from_policy(self, reached: VerdictReached) -> None:
        if pending := self._pending.get(reached.operation_id):
            pending.on_verdict(reached.verdict)
        elif caller := self._left.pop(reached.operation_id, None):
            self._nobody_waits(caller, reached.verdict)
        else:
            log.info("late verdict ignored", operation_id=reached.operation_id)

    def _from_people(self, reached: VerdictReached) -> None:
        queue = self._people.get(reached.operation_id)
        if queue is not None and not queue.full() and reached.verdict.decision is not Decision.HOLD:
            queue.put_nowait(reached.verdict)
