"""The handler: an attempt in, a verdict out, as fast as the bus. Counterpart: `listen.py` subscribes it.

The verdict is a plain publish; ingress waits for it and JetStream records it. A hold is only said once the question to
people is stored (JetStream's ack): else there is no verdict, and ingress refuses for lack of one (G1).
"""

import time

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js.api import Header
from nats.js.errors import Error as JetStreamError
from pydantic import ValidationError

from schemas import subjects
from schemas.base import new_id
from schemas.events import ApprovalRequested, OperationAttempted, VerdictReached
from schemas.verdicts import Decision, Verdict
from services.policy.evaluate import judge
from services.policy.metrics import Metrics
from services.policy.store import Store
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: Questions that may wait for JetStream's ack at once; more get no verdict, and their callers a 503.
MAX_ASKING = 1000

_UNDELIVERED = (nats.errors.Error, JetStreamError, OSError, TimeoutError)


class Judge:
    """Answers attempts with what the store holds."""

    def __init__(self, store: Store, client: Client, metrics: Metrics, *, ack_within: float) -> None:
        """`ack_within`: seconds a question may take to be stored; the gate's patience, beyond which nobody waits."""
        self._store, self._client, self._metrics = store, client, metrics
        self._jetstream = client.jetstream(timeout=ack_within)
        self.asking = TaskGroup("policy asks")

    async def on_attempt(self, attempt: OperationAttempted | None) -> None:
        """Judge one attempt and publish the verdict; None is one that could not be read."""
        if attempt is None:
            return
        if not self._store.confirmed:  # a denial would say that a rule was asked
            log.warning("which policy is in force cannot be confirmed: no verdict", operation_id=attempt.operation_id)
            return
        started = time.perf_counter()
        judgement = judge(self._store.policy, attempt, self._store.grants)
        self._metrics.seconds.observe(time.perf_counter() - started)
        self._metrics.count(judgement.verdict, judgement.failed)
        if judgement.failed:
            log.warning("rules failed", operation_id=attempt.operation_id, rules=judgement.failed[:5])
        if judgement.verdict.decision is Decision.HOLD and judgement.verdict.approval_id is None and asks(attempt):
            self._hold(attempt, judgement.verdict)
        else:
            await self._answer(attempt, judgement.verdict)

    def decode(self, body: bytes) -> OperationAttempted | None:
        """The attempt, or None for what is none: the error is not logged, for it would quote the content (G4)."""
        try:
            return OperationAttempted.model_validate_json(body)
        except ValidationError as error:
            self._metrics.malformed.inc()
            log.error("malformed attempt", errors=error.error_count())
            return None

    def _hold(self, attempt: OperationAttempted, verdict: Verdict) -> None:
        """Ask in the background: attempts behind this one do not wait for JetStream."""
        if len(self.asking) >= MAX_ASKING:
            self._metrics.unasked.inc()
            log.error("too many questions wait for the bus", operation_id=attempt.operation_id)
            return
        self.asking.start(self._ask(attempt, verdict), attempt.operation_id)

    async def _ask(self, attempt: OperationAttempted, verdict: Verdict) -> None:
        held = verdict.model_copy(update={"approval_id": new_id()})
        question = _question(attempt, held)
        try:
            await self._jetstream.publish(
                subjects.of(question),
                question.to_json(),
                stream=subjects.AUDIT_STREAM,
                headers={Header.MSG_ID: question.event_id},
            )
        except _UNDELIVERED as error:
            self._metrics.unasked.inc()
            log.error("the question was not stored: no verdict", operation_id=attempt.operation_id, error=repr(error))
            return
        await self._answer(attempt, held)

    async def _answer(self, attempt: OperationAttempted, verdict: Verdict) -> None:
        event = VerdictReached(
            ingress=attempt.ingress,
            session_id=attempt.session_id,
            traceparent=attempt.traceparent,
            operation_id=attempt.operation_id,
            by="policy",
            verdict=verdict,
        )
        if not self._client.is_connected:
            # Nothing is sent later behind our back: ingress has given up by then.
            log.warning("the bus is away: no verdict", operation_id=attempt.operation_id)
            return
        subject = subjects.verdict(attempt.ingress, attempt.operation_id)
        try:
            await self._client.publish(subject, event.to_json())
        except _UNDELIVERED as error:
            log.warning("no verdict", operation_id=attempt.operation_id, error=repr(error))


def asks(attempt: OperationAttempted) -> bool:
    """Whether people are asked for it; not for a statement that is only prepared: they are when it is executed."""
    return attempt.operation.attributes.get("prepare") is not True


def _question(attempt: OperationAttempted, held: Verdict) -> ApprovalRequested:
    assert held.approval_id
    assert held.terms
    return ApprovalRequested(
        ingress=attempt.ingress,
        session_id=attempt.session_id,
        traceparent=attempt.traceparent,
        approval_id=held.approval_id,
        operation_id=attempt.operation_id,
        identity=attempt.identity,
        connector=attempt.connector,
        operation=attempt.operation,
        findings=attempt.findings,
        asked=attempt.asked,
        terms=held.terms,
        policy_version=held.policy_version,
        obligations=held.obligations,
    )
