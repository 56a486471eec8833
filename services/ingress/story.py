"""Sessions and operations as they are told to the record: built here, published through `emit`, one outcome each (G6).

Shared by every protocol: a session opens a `Session`, each thing the agent attempts gets a `Story`, and whatever
happens to it ends in exactly one `finish`.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from schemas.base import Json, new_id
from schemas.events import (
    ApprovalUsed,
    OperationAttempted,
    OperationFinished,
    Outcome,
    Refusal,
    SessionClosed,
    SessionFrame,
    SessionOpened,
)
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation
from schemas.verdicts import Decision, Verdict
from services.ingress.emit import Emitter
from services.ingress.errors import Denied, GatewayError, NotDecided
from services.ingress.metrics import Metrics
from services.runtime.logs import about

#: Largest frame, in bytes of UTF-8: JSON escapes may multiply it, and it must still fit into a NATS message.
MAX_FRAME = 256 * 1024
#: Stands in for the verdict of an operation that got none.
_UNJUDGED = Verdict(decision=Decision.DENY)

log = structlog.get_logger(__name__)


@dataclass
class Session:
    """One connection of an agent."""

    emitter: Emitter
    metrics: Metrics
    protocol: str
    peer: str
    tls: bool
    session_id: str = field(default_factory=new_id)
    operations: int = 0
    frames: int = 0
    opened: bool = False

    def open(self) -> None:
        """Record that it began; called once the agent is known, or for a recorded refusal: strangers leave no more."""
        if not self.opened:
            self.opened = True
            self.emitter.later(
                SessionOpened(
                    ingress=self.emitter.ingress,
                    ingress_seq=self.emitter.next_sequence(),
                    session_id=self.session_id,
                    protocol=self.protocol,
                    peer=self.peer,
                    tls=self.tls,
                )
            )

    def close(self, reason: str = "") -> None:
        """Record that it ended."""
        if self.opened:
            self.opened = False
            self.emitter.later(
                SessionClosed(
                    ingress=self.emitter.ingress,
                    ingress_seq=self.emitter.next_sequence(),
                    session_id=self.session_id,
                    protocol=self.protocol,
                    operations=self.operations,
                    reason=reason,
                )
            )


@dataclass
class Story:
    """One operation from attempt to outcome."""

    session: Session
    connector: str
    operation_id: str = field(default_factory=new_id)
    traceparent: str = ""
    started: float = field(default_factory=time.monotonic)
    decided: float | None = None
    attempt: OperationAttempted | None = None
    verdict: Verdict | None = None
    #: True from the moment a byte may have reached the upstream.
    reached_upstream: bool = False
    request_bytes: int = 0
    response_bytes: int = 0
    rows: int = 0
    masked: Counter[str] = field(default_factory=Counter)
    finished: bool = False

    def __post_init__(self) -> None:
        """Whatever this task logs from now on is about this operation."""
        about.set({"operation_id": self.operation_id, "session_id": self.session.session_id})

    def attempted(
        self,
        identity: Identity,
        connector: Connector,
        operation: Operation,
        findings: dict[str, int],
        asked: Asked,
    ) -> OperationAttempted:
        """The event that is judged."""
        self.session.operations += 1
        self.attempt = OperationAttempted(
            ingress=self.session.emitter.ingress,
            ingress_seq=self.session.emitter.next_sequence(),
            session_id=self.session.session_id,
            traceparent=self.traceparent,
            operation_id=self.operation_id,
            identity=identity,
            connector=connector,
            operation=operation,
            findings=findings,
            asked=asked,
            peer=self.session.peer,
        )
        return self.attempt

    def judged(self, verdict: Verdict) -> None:
        """Remember the decision that counts; the last one does."""
        self.verdict = verdict
        self.decided = time.monotonic()

    def note_masked(self, direction: str, counts: Mapping[str, int]) -> None:
        """Count what was masked, `request.EMAIL` and so on."""
        for entity, count in counts.items():
            self.masked[f"{direction}.{entity}"] += count

    def finish(self, outcome: Outcome, status: str = "", error: str = "", refusal: Refusal | None = None) -> None:
        """Record the one outcome; a second call does nothing."""
        if self.finished:
            return
        self.finished = True
        verdict = self.verdict or _UNJUDGED
        now = time.monotonic()
        event = OperationFinished(
            ingress=self.session.emitter.ingress,
            ingress_seq=self.session.emitter.next_sequence(),
            session_id=self.session.session_id,
            traceparent=self.traceparent,
            operation_id=self.operation_id,
            connector=self.connector,
            protocol=self.session.protocol,
            outcome=outcome,
            decision=str(verdict.decision) if self.verdict else "",
            rules=verdict.rules,
            reason=verdict.reason,
            policy_version=verdict.policy_version,
            approval_id=verdict.approval_id,
            approved_by=verdict.approved_by,
            status=status,
            error=error,
            masked=dict(self.masked),
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            rows=self.rows,
            decided_ms=_milliseconds(self.started, self.decided),
            total_ms=_milliseconds(self.started, now),
            attributes=self._attributes(),
            refusal=refusal,
        )
        self.session.emitter.later(event)
        self._tell_approvers(event)
        self.session.metrics.finished(self.session.protocol, self.connector, outcome, now - self.started)
        # The record tells every operation; the log tells those that an operator may have to look into.
        tell = log.debug if outcome is Outcome.FORWARDED else log.info
        tell(
            "operation",
            operation_id=self.operation_id,
            session_id=self.session.session_id,
            connector=self.connector,
            outcome=str(outcome),
            status=status,
            rules=verdict.rules,
            error=error or None,
        )

    def refuse(self, error: GatewayError, status: str) -> None:
        """Record that it did not run, or broke off; `status` is the protocol's own."""
        outcome = error.outcome if error.outcome is not Outcome.FORWARDED else Outcome.FAILED
        told = "" if isinstance(error, Denied) and error.code == "denied" else error.detail
        self.finish(outcome, status=status, error=told, refusal=self._unrecorded(error))

    async def frame(self, direction: str, data: str, media_type: str = "", *, truncated: bool = False) -> None:
        """Record masked content, at most MAX_FRAME bytes of it; what is cut off is said."""
        whole = data.encode("utf-8", "replace")
        if len(whole) > MAX_FRAME:
            data, truncated = whole[:MAX_FRAME].decode("utf-8", "ignore"), True
        self.session.frames += 1
        await self.session.emitter.frame(
            SessionFrame(
                ingress=self.session.emitter.ingress,
                session_id=self.session.session_id,
                traceparent=self.traceparent,
                operation_id=self.operation_id,
                protocol=self.session.protocol,
                seq=self.session.frames,
                direction="request" if direction == "request" else "response",
                data=data,
                media_type=media_type,
                truncated=truncated,
            )
        )

    def _unrecorded(self, error: GatewayError) -> Refusal | None:
        """Without an ack the attempt may be missing from the log: then this event tells who and what."""
        attempt = self.attempt
        if attempt is None or not isinstance(error, NotDecided):
            return None
        operation = attempt.operation
        return Refusal(
            code=error.code,
            connector=attempt.connector.name,
            action=operation.action,
            statement=f"{operation.method} {operation.path}" if operation.method else operation.statement,
            peer=attempt.peer,
            identity=attempt.identity,
        )

    def _tell_approvers(self, finished: OperationFinished) -> None:
        """How the operation that people approved ended. One under a grant is not told: they said so once for all."""
        verdict = self.verdict
        if verdict is None or verdict.decision is not Decision.ALLOW or not verdict.approval_id or verdict.certificate:
            return
        self.session.emitter.later(
            ApprovalUsed(
                ingress=finished.ingress,
                ingress_seq=self.session.emitter.next_sequence(),
                session_id=finished.session_id,
                traceparent=finished.traceparent,
                approval_id=verdict.approval_id,
                operation_id=finished.operation_id,
                outcome=finished.outcome,
                status=finished.status,
                error=finished.error,
                rows=finished.rows,
                response_bytes=finished.response_bytes,
                total_ms=finished.total_ms,
            )
        )

    def _attributes(self) -> Json:
        said: Json = {"reached_upstream": True} if self.reached_upstream else {}
        if self.attempt is not None and self.verdict is None:
            # Maybe it was never stored: its number is then no lost event (services/recorder/completeness.py).
            said["unjudged_seq"] = self.attempt.ingress_seq
        return said


def _milliseconds(start: float, end: float | None) -> float:
    return 0.0 if end is None else round((end - start) * 1000, 3)
