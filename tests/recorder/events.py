"""Events as the services publish them, for the recorder's tests."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from nats.aio.client import Client

from schemas import subjects
from schemas.base import new_id, utc_now
from schemas.events import (
    ApprovalRequested,
    Event,
    OperationAttempted,
    OperationFinished,
    Outcome,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    VerdictReached,
)
from schemas.identity import Identity
from schemas.operations import Connector, Operation
from schemas.verdicts import ApprovalTerms, Decision, Requirement, Verdict
from services.recorder.batch import Delivery

AGENT = Identity(subject="agent-7", issuer="https://idp.example", email="agent7@example.com", groups=("agents", "ml"))
OPENAI = Connector(name="openai", protocol="http", tags={"env": "prod"})


def attempt(ingress: str = "ingress-1", seq: int | None = None, **changes: Any) -> OperationAttempted:
    """An agent asks for a chat."""
    fields: dict[str, Any] = {
        "ingress": ingress,
        "ingress_seq": seq,
        "session_id": new_id(),
        "operation_id": new_id(),
        "identity": AGENT,
        "connector": OPENAI,
        "operation": Operation(
            action="llm.chat",
            resources=("gpt-5",),
            statement="Summarise the contract",
            method="POST",
            path="/v1/chat/completions",
            attributes={"model": "gpt-5"},
            digest="d" * 64,
        ),
        "findings": {"EMAIL": 2},
    }
    return OperationAttempted(**(fields | changes))


def verdict(of: OperationAttempted, decision: Decision = Decision.ALLOW, **changes: Any) -> VerdictReached:
    """Policy's (or with by="approver" people's) answer to an attempt."""
    by = changes.pop("by", "policy")
    fields: dict[str, Any] = {"decision": decision, "rules": ("agents-may-chat",), "policy_version": "v1"}
    return VerdictReached(
        ingress=of.ingress,
        session_id=of.session_id,
        operation_id=of.operation_id,
        by=by,
        verdict=Verdict(**(fields | changes)),
    )


def outcome(of: OperationAttempted, seq: int | None = None, **changes: Any) -> OperationFinished:
    """How an attempt ended."""
    fields: dict[str, Any] = {
        "ingress": of.ingress,
        "ingress_seq": seq if seq is not None else 1,
        "session_id": of.session_id,
        "operation_id": of.operation_id,
        "connector": of.connector.name,
        "protocol": of.connector.protocol,
        "outcome": Outcome.FORWARDED,
        "decision": "allow",
        "rules": ("agents-may-chat",),
        "policy_version": "v1",
        "status": "200",
        "masked": {"response.EMAIL": 3},
        "request_bytes": 600,
        "response_bytes": 1200,
        "decided_ms": 0.7,
        "total_ms": 12.5,
    }
    return OperationFinished(**(fields | changes))


def approval_request(of: OperationAttempted, **changes: Any) -> ApprovalRequested:
    """People are asked about an attempt."""
    fields: dict[str, Any] = {
        "ingress": of.ingress,
        "session_id": of.session_id,
        "approval_id": new_id(),
        "operation_id": of.operation_id,
        "identity": of.identity,
        "connector": of.connector,
        "operation": of.operation,
        "terms": ApprovalTerms(
            requirements=(Requirement(rule="chat-needs-a-person", by=("dba",), quorum=2),),
            expires_at=utc_now() + timedelta(minutes=15),
        ),
        "policy_version": "v1",
    }
    return ApprovalRequested(**(fields | changes))


def session(protocol: str = "http") -> tuple[SessionOpened, SessionClosed]:
    """A connection, from begin to end."""
    common: dict[str, Any] = {"ingress": "ingress-1", "session_id": new_id(), "protocol": protocol}
    return SessionOpened(**common, peer="10.0.0.9:5123", tls=True), SessionClosed(**common, operations=2, reason="eof")


def frame(seq: int, data: str = "hello", **changes: Any) -> SessionFrame:
    """A piece of a recording."""
    fields: dict[str, Any] = {
        "ingress": "ingress-1",
        "session_id": new_id(),
        "protocol": "http",
        "seq": seq,
        "direction": "request",
        "data": data,
    }
    return SessionFrame(**(fields | changes))


def deliveries(events: Iterable[Event], first: int = 1) -> list[Delivery]:
    """The events as a stream's consumer delivers them."""
    return [
        Delivery(subjects.of(event), encoded(event), seq, seq - first + 1, 1_790_000_000_000_000 + seq)
        for seq, event in enumerate(events, first)
    ]


def encoded(event: Event) -> bytes:
    """An event's bytes on the bus."""
    return event.model_dump_json().encode()


def stories(count: int, ingress: str = "ingress-1") -> Iterator[Event]:
    """Attempt, verdict, outcome, `count` times."""
    for number in range(count):
        tried = attempt(ingress, seq=2 * number + 1)
        yield tried
        yield verdict(tried)
        yield outcome(tried, seq=2 * number + 2)


async def publish(client: Client, events: Iterable[Event]) -> int:
    """Publish as an ingress would, acks awaited in windows; answers how many."""
    jetstream = client.jetstream()
    waiting = []
    count = 0
    for event in events:
        waiting.append(await jetstream.publish_async(subjects.of(event), encoded(event)))
        count += 1
        if len(waiting) == 500:
            for ack in waiting:
                await ack
            waiting.clear()
    for ack in waiting:
        await ack
    return count
