"""Take back a question to people for which nobody waits any more."""

from dataclasses import dataclass

from schemas.events import ApprovalWithdrawn, OperationAttempted
from schemas.verdicts import Verdict
from services.ingress.emit import Emitter


@dataclass(frozen=True)
class Caller:
    """Who waits, without what was asked: small enough to be remembered by the thousand."""

    ingress: str
    session_id: str
    operation_id: str
    traceparent: str
    #: The approval it brought from an earlier request, whose question is not its own to withdraw.
    presented: str | None

    @classmethod
    def of(cls, attempt: OperationAttempted) -> "Caller":
        """The one behind an attempt."""
        return cls(
            attempt.ingress, attempt.session_id, attempt.operation_id, attempt.traceparent, attempt.asked.approval_id
        )


def withdraw(emitter: Emitter, caller: Caller, held: Verdict, reason: str) -> None:
    """Say that the question of a hold is for nobody, unless it belongs to an earlier request that did not wait."""
    if held.approval_id is None or held.approval_id == caller.presented:
        return
    emitter.later(
        ApprovalWithdrawn(
            ingress=caller.ingress,
            ingress_seq=emitter.next_sequence(),
            session_id=caller.session_id,
            traceparent=caller.traceparent,
            approval_id=held.approval_id,
            operation_id=caller.operation_id,
            reason=reason,
        )
    )
