"""What is published about a settled approval: ApprovalResolved for the record, VerdictReached for the waiting ingress,
and ApprovalUsed in place of an ingress that died with what was approved.

Pure, and the same bytes every time: after a crash any copy publishes again, and both the stream's duplicate window
and whoever reads by `event_id` see one event.
"""

import hashlib
from datetime import datetime

from schemas.approvals import Grant
from schemas.events import ApprovalResolved, ApprovalState, ApprovalUsed, GrantRevoked, Outcome, VerdictReached
from schemas.verdicts import Decision, Verdict
from services.approver.record import Held


def resolved(record: Held) -> ApprovalResolved:
    """The event that settles the question."""
    request = record.request
    return ApprovalResolved(
        event_id=_event_id(record.approval_id, "resolved", record.resolved_at),
        at=record.resolved_at,
        ingress=request.ingress,
        session_id=request.session_id,
        traceparent=request.traceparent,
        approval_id=record.approval_id,
        operation_id=request.operation_id,
        state=record.resolution,
        decided_by=deciders(record),
        reason=record.reason,
        grant_id=record.grant_id,
        break_glass=record.break_glass,
    )


def verdict(record: Held) -> VerdictReached:
    """The answer to the ingress whose caller may be waiting."""
    request = record.request
    return VerdictReached(
        event_id=_event_id(record.approval_id, "verdict", record.resolved_at),
        at=record.resolved_at,
        ingress=request.ingress,
        session_id=request.session_id,
        traceparent=request.traceparent,
        operation_id=request.operation_id,
        by="approver",
        verdict=Verdict(
            decision=Decision.ALLOW if record.resolution is ApprovalState.APPROVED else Decision.DENY,
            rules=record.rules,
            reason=words(record),
            policy_version=request.policy_version,
            obligations=request.obligations,
            approval_id=record.approval_id,
            certificate=record.certificate,
            approved_by=tuple(reviewer.label for reviewer in record.approved_by),
        ),
    )


def revoked(record: Held, grant: Grant, by: str, reason: str) -> GrantRevoked:
    """The event that ends a grant; the same one however often it is tried."""
    request = record.request
    return GrantRevoked(
        event_id=_event_id(grant.grant_id, "revoked", record.resolved_at),
        ingress=request.ingress,
        session_id=request.session_id,
        approval_id=record.approval_id,
        operation_id=request.operation_id,
        grant_id=grant.grant_id,
        revoked_by=by,
        reason=reason,
    )


def lost(record: Held) -> ApprovalUsed:
    """How an operation ended of which nobody can tell: its ingress spent the approval and is gone."""
    request = record.request
    assert record.spent_by
    return ApprovalUsed(
        event_id=_event_id(record.approval_id, "lost", record.history[-1].at),
        ingress=record.spender,
        session_id=request.session_id,
        traceparent=request.traceparent,
        approval_id=record.approval_id,
        operation_id=record.spent_by,
        outcome=Outcome.UNKNOWN,
        error="the gateway process that ran it is gone",
    )


def deciders(record: Held) -> tuple[str, ...]:
    """Who settled it, as shown to auditors."""
    if record.resolution is ApprovalState.APPROVED:
        return tuple(reviewer.label for reviewer in record.approved_by)
    return (record.decided_by,) if record.decided_by else ()


def words(record: Held) -> str:
    """The outcome in one line, for the agent."""
    by = f" by {record.decided_by}" if record.decided_by else ""
    why = f": {record.reason}" if record.reason else ""
    alone = " in an emergency" if record.break_glass else ""
    return f"{record.resolution}{by}{alone}{why}"


def _event_id(approval_id: str, what: str, at: datetime) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) of that moment, its random bits taken from what it is about."""
    milliseconds = int(at.timestamp() * 1000) & (1 << 48) - 1
    noise = hashlib.sha256(f"{approval_id}.{what}".encode()).digest()
    octets = bytearray(milliseconds.to_bytes(6, "big") + noise[:10])
    octets[6] = 0x70 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
