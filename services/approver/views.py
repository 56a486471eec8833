"""What the API shows of an approval, and to whom. Pure."""

from schemas.approvals import ApprovalView
from schemas.events import ApprovalState
from schemas.identity import Identity
from services.approver.announcement import words
from services.approver.needed import needed
from services.approver.pending import grant_limit
from services.approver.record import Held


def visible(requester: str, connector: str, groups: frozenset[str], identity: Identity) -> bool:
    """Requesters (by `Identity.key`) see their own; reviewers what they may decide, or could have decided."""
    # A token that is scoped to one connector opens nothing about another.
    if identity.connector is not None and identity.connector != connector:
        return False
    return requester == identity.key or not groups.isdisjoint(identity.groups)


def view(record: Held) -> ApprovalView:
    """The whole of what people may see."""
    request, operation = record.request, record.request.operation
    return ApprovalView(
        approval_id=record.approval_id,
        operation_id=request.operation_id,
        state=record.state,
        subject=request.identity.subject,
        email=request.identity.email,
        groups=request.identity.groups,
        connector=request.connector.name,
        action=operation.action,
        resources=operation.resources,
        method=operation.method,
        path=operation.path,
        fields=record.header_fields,
        statement=operation.statement,
        digest=operation.digest,
        requirements=request.terms.requirements,
        approved_by=tuple(reviewer.label for reviewer in record.approved_by),
        decided_by=record.decided_by,
        reason=record.reason,
        caller_reason=request.asked.reason,
        requested_at=request.at,
        expires_at=request.terms.expires_at,
        grant_seconds=grant_limit(request.terms),
        max_uses=request.terms.max_uses,
        detail=_detail(record),
        break_glass=record.break_glass,
        escalated=record.escalated,
        preview=record.preview,
        use=record.use,
        history=record.history,
    )


def _detail(record: Held) -> str:
    """How it stands, in a sentence for the caller and for whoever is asked."""
    if record.open:
        return f"waits for {needed(record)}, until {record.request.terms.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    match record.state:
        case ApprovalState.APPROVED:
            until = f"{record.request.terms.expires_at:%Y-%m-%d %H:%M:%S} UTC"
            return f"{words(record)}; not used yet, and of no use after {until}"
        case ApprovalState.SPENT:
            return f"{words(record)}; used by operation {record.spent_by}"
        case _:
            return f"{words(record)}; nothing was done, and this approval opens nothing any more"
