"""Attempts for tests: a plausible one, with what a test cares about changed."""

from datetime import UTC, datetime
from typing import Any

from schemas.base import new_id
from schemas.events import OperationAttempted
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)


def attempt(
    *,
    action: str = "llm.chat",
    groups: tuple[str, ...] = ("agents",),
    subject: str = "agent-7",
    connector: str = "openai",
    protocol: str = "http",
    tags: dict[str, str] | None = None,
    findings: dict[str, int] | None = None,
    approval_id: str | None = None,
    at: datetime = NOW,
    ingress: str = "ingress-1",
    **operation: Any,
) -> OperationAttempted:
    """One attempt; further arguments are the operation's."""
    return OperationAttempted(
        at=at,
        ingress=ingress,
        ingress_seq=1,
        session_id=new_id(),
        operation_id=new_id(),
        identity=Identity(subject=subject, issuer="https://idp.example.com", email="a7@example.com", groups=groups),
        connector=Connector(name=connector, protocol=protocol, tags=tags or {"env": "prod"}),
        operation=Operation(action=action, digest="d" * 64, **operation),
        findings=findings or {},
        asked=Asked(approval_id=approval_id),
        peer="127.0.0.1:50000",
    )
