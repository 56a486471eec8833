"""What the events of an approval say, as rows of the `approval_…` tables; columns in the order of `tables.py`. Pure."""

from schemas.events import (
    ApprovalPreviewed,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalUsed,
    ApprovalWithdrawn,
    GrantRevoked,
)
from services.recorder.row_values import Row, count, microseconds


def request(event: ApprovalRequested) -> Row:
    """What was asked of whom."""
    requirements = event.terms.requirements
    identity = event.identity
    return (
        event.approval_id,
        event.operation_id,
        identity.subject,
        identity.issuer,
        identity.email,
        identity.groups,
        event.connector.name,
        event.connector.protocol,
        event.operation.action,
        event.operation.statement,
        event.operation.digest,
        [requirement.rule for requirement in requirements],
        sorted({group for requirement in requirements for group in requirement.by}),
        # People may count for several requirements, so the largest quorum is the number of people asked for.
        min(max(requirement.quorum for requirement in requirements), 2**32 - 1),
        event.terms.grant_seconds,
        microseconds(event.terms.expires_at) // 1000,
        event.asked.reason,
        event.policy_version,
    )


def resolution(event: ApprovalResolved) -> Row:
    """How it was settled."""
    return (
        event.approval_id,
        event.operation_id,
        event.state.value,
        event.decided_by,
        event.reason,
        event.grant_id or "",
        event.break_glass,
    )


def withdrawal(event: ApprovalWithdrawn) -> Row:
    """That nobody waits any more."""
    return event.approval_id, event.operation_id, event.reason


def revocation(event: GrantRevoked) -> Row:
    """That a grant was ended early, and by whom."""
    return event.approval_id, event.operation_id, event.grant_id, event.revoked_by, event.reason


def preview(event: ApprovalPreviewed) -> Row:
    """What it would touch."""
    return event.approval_id, event.operation_id, event.estimated_rows, event.counted_rows, event.problem


def use(event: ApprovalUsed) -> Row:
    """How the approved operation ended."""
    return (
        event.approval_id,
        event.operation_id,
        event.outcome.value,
        event.status,
        event.error,
        count(event.rows),
        count(event.response_bytes),
        event.total_ms,
    )
