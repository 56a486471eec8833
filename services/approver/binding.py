"""What an approval covers, as the claims that get signed: exactly one operation, or one identity, rule and connector.

Counterpart: services/ingress/countersigned.py compares every claim with the operation at hand (G5).
"""

from datetime import datetime, timedelta

from joserfc.jwk import OKPKey

from schemas.approvals import Grant
from schemas.base import new_id
from schemas.certificates import Certificate
from schemas.events import ApprovalState
from services.approver.needed import groups_concerned
from services.approver.record import Held
from services.runtime.certificates import sign


def certified(record: Held, key: OKPKey, now: datetime) -> Held:
    """An approved record with its certificate, and the id of its grant if there is one; any other record as it is."""
    if record.state is not ApprovalState.APPROVED or record.certificate:
        return record
    grant_id = new_id() if record.grant_seconds else None
    return record.model_copy(update={"certificate": sign(once(record, now), key), "grant_id": grant_id})


def once(record: Held, now: datetime) -> Certificate:
    """The claims of a yes to this one operation."""
    operation = record.request.operation
    return _claims(record, "once", record.approval_id, now, record.request.terms.expires_at, operation.digest)


def grant(record: Held, key: OKPKey) -> Grant | None:
    """The time-boxed grant given with the approval, or None.

    Its window began when people decided, so that making it again after a crash makes no longer one.
    """
    if record.grant_id is None or not record.grant_seconds:
        return None
    given = record.resolved_at
    expires = given + timedelta(seconds=record.grant_seconds)
    claims = _claims(record, "grant", record.grant_id, given, expires, "")
    return Grant(
        grant_id=record.grant_id,
        approval_id=record.approval_id,
        issuer=claims.issuer,
        subject=claims.subject,
        rule=record.rules[0],
        connector=claims.connector,
        policy_version=claims.policy_version,
        approved_by=record.decided_by,
        given_at=given,
        expires_at=expires,
        max_uses=claims.max_uses,
        by=tuple(sorted(groups_concerned(record.request.terms))),
        certificate=sign(claims, key),
    )


def _claims(record: Held, kind: str, identifier: str, now: datetime, expires: datetime, digest: str) -> Certificate:
    request = record.request
    return Certificate.model_validate(
        {
            "kind": kind,
            "id": identifier,
            "issuer": request.identity.issuer,
            "subject": request.identity.subject,
            "connector": request.connector.name,
            "rules": record.rules,
            "policy_version": request.policy_version,
            "operation_digest": digest,
            "max_uses": request.terms.max_uses if kind == "grant" else 0,
            "approved_by": tuple(reviewer.label for reviewer in record.approved_by),
            "issued_at": now,
            "expires_at": expires,
        }
    )
