"""Questions and people for tests, with everything about them named here once."""

from datetime import datetime, timedelta
from typing import Any

from schemas.approvals import Reviewer
from schemas.base import new_id, utc_now
from schemas.events import ApprovalRequested
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation
from schemas.verdicts import ApprovalTerms, Requirement

DBA = Requirement(rule="writes-need-a-person", by=("dba",))
SECURITY = Requirement(rule="pii-needs-security", by=("security",))
AGENT = Identity(subject="agent-7", issuer="countersign-local", email="agent@example.com", groups=("agents",))

#: Where callers wait, unless a test says otherwise.
INGRESS = "ingress-1"


def question(
    *requirements: Requirement,
    identity: Identity = AGENT,
    now: datetime | None = None,
    expires: float = 900,
    grant: float = 3600,
    wait: float = 300,
    statement: str = "DELETE FROM orders WHERE id = 7",
    ingress: str = INGRESS,
    terms: dict[str, Any] | None = None,
    **operation: Any,
) -> ApprovalRequested:
    """A question as policy publishes it."""
    now = now or utc_now()
    described: dict[str, Any] = {"action": "sql.delete", "resources": ("orders",), "digest": "ab" * 32} | operation
    return ApprovalRequested(
        at=now,
        ingress=ingress,
        session_id=new_id(),
        approval_id=new_id(),
        operation_id=new_id(),
        identity=identity,
        connector=Connector(name="orders", protocol="postgres", tags={"env": "prod"}),
        operation=Operation(statement=statement, **described),
        asked=Asked(wait_seconds=wait, reason="the customer asked for it"),
        terms=ApprovalTerms(
            requirements=requirements or (DBA,),
            expires_at=now + timedelta(seconds=expires),
            grant_seconds=grant,
            **(terms or {}),
        ),
        policy_version="v1",
    )


def person(name: str, *groups: str, **more: Any) -> Reviewer:
    """Somebody who may be asked."""
    return Reviewer(
        issuer="countersign-local", subject=name, email=f"{name}@example.com", groups=groups or ("dba",), **more
    )
