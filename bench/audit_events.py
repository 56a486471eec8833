"""A month of agents at work, as the bytes that services would have published; fast to make and the same each time.

Four in ten operations are chats with a model, six are SQL: most read and get rows, some write after a person said yes,
a few are denied. Ten operations are a session; a hundred a run. Each is shaped by the real event classes, whose JSON is
filled in here, because making ten million pydantic objects would be what is measured.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas import subjects as s
from schemas.events import (
    ApprovalRequested,
    ApprovalResolved,
    ApprovalState,
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
from schemas.operations import Asked, Connector, Operation
from schemas.verdicts import ApprovalTerms, Decision, Requirement, Verdict
from services.recorder.batch import Delivery

END: Final = datetime(2026, 11, 21, tzinfo=UTC)
DAYS: Final = 30
#: A run that docs/audit.md asks for, on the day it asks for.
RUN: Final = "nightly-refunds"

#: Stand for what differs from event to event; as long as what replaces them.
_EVENT, _SESSION, _OPERATION, _APPROVAL = (f"00000000-0000-7000-8000-00000000000{n}" for n in range(1, 5))
_AT: Final = datetime(2001, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
_TEXT: Final = (
    "refund order customer invoice total paid late address region status shipped returned approve table select where "
    "join sum count agent report week month account ledger open closed ticket reply draft summary contract clause"
)
_WORDS: Final = _TEXT.split()
_MODEL = Connector(name="openai", protocol="http", tags={"env": "prod"})
_ORDERS = Connector(name="orders", protocol="postgres", tags={"env": "prod"})


@dataclass(frozen=True)
class _Shape:
    """An event's JSON with stand-ins, its subject likewise."""

    subject: str
    body: str

    @classmethod
    def of(cls, event: Event) -> "_Shape":
        return cls(s.of(event), event.model_dump_json())


def _agent(number: int) -> Identity:
    return Identity(subject=f"agent-{number}", issuer="https://idp.example", groups=("agents",))


_COMMON: Final[dict[str, Any]] = {"event_id": _EVENT, "at": _AT, "ingress": "i-bench", "session_id": _SESSION}
_OP: Final[dict[str, Any]] = {**_COMMON, "operation_id": _OPERATION}


def _shapes(connector: Connector, action: str, resources: tuple[str, ...], verdict: Verdict) -> dict[str, _Shape]:
    held = verdict.approval_id is not None
    denied = verdict.decision is Decision.DENY
    attempt = OperationAttempted(
        **_OP,
        traceparent="00-TRACETRACETRACETRACETRACETRACE00-00f067aa0ba902b7-01",
        identity=_agent(0),
        connector=connector,
        operation=Operation(action=action, resources=resources, statement="STATEMENT", digest="d" * 64),
        findings={"EMAIL": 1},
        asked=Asked(run="RUN"),
    )
    finished = OperationFinished(
        **_OP,
        connector=connector.name,
        protocol=connector.protocol,
        outcome=Outcome.DENIED if denied else Outcome.FORWARDED,
        decision=verdict.decision.value,
        rules=verdict.rules,
        policy_version="v7",
        approval_id=verdict.approval_id,
        approved_by=("dana@example.com",) if held else (),
        status="00000" if connector is _ORDERS else "200",
        masked={} if denied else {"response.EMAIL": 3},
        request_bytes=600,
        response_bytes=0 if denied else 1500,
        rows=20 if connector is _ORDERS and not denied else 0,
        decided_ms=1.2,
        total_ms=87.5,
    )
    frame = SessionFrame(
        **_OP,
        protocol=connector.protocol,
        seq=4444444,
        direction="response",
        data="CONTENT",
        media_type="application/x-ndjson" if connector is _ORDERS else "application/json",
    )
    return {
        "attempt": _Shape.of(attempt),
        "verdict": _Shape.of(VerdictReached(**_OP, by="policy", verdict=verdict)),
        "finished": _Shape.of(finished),
        "frame": _Shape.of(frame),
    }


def _question() -> dict[str, _Shape]:
    terms = ApprovalTerms(requirements=(Requirement(rule="writes-need-a-person", by=("dba",)),), expires_at=_AT)
    requested = ApprovalRequested(
        **_OP,
        approval_id=_APPROVAL,
        identity=_agent(0),
        connector=_ORDERS,
        operation=Operation(action="sql.update", statement="STATEMENT", digest="d" * 64),
        terms=terms,
        policy_version="v7",
    )
    resolved = ApprovalResolved(
        **_OP, approval_id=_APPROVAL, state=ApprovalState.APPROVED, decided_by=("dana@example.com",), reason="fine"
    )
    return {"requested": _Shape.of(requested), "resolved": _Shape.of(resolved)}


def _verdict(rule: str, decision: Decision = Decision.ALLOW, **more: Any) -> Verdict:
    return Verdict(decision=decision, rules=(rule,), policy_version="v7", **more)


_CHAT: Final = _shapes(_MODEL, "llm.chat", ("gpt-5",), _verdict("agents-may-chat"))
_READ: Final = _shapes(_ORDERS, "sql.select", ("orders.public.customers",), _verdict("reads-are-masked"))
_WRITE: Final = _shapes(
    _ORDERS, "sql.update", ("orders.public.orders",), _verdict("writes-need-a-person", approval_id=_APPROVAL)
)
_DENIED: Final = _shapes(_ORDERS, "sql.drop", ("orders.public.orders",), _verdict("never-drop", Decision.DENY))
_ASKED: Final = _question()
_OPENED: Final = _Shape.of(SessionOpened(**_COMMON, protocol="http", peer="10.0.0.1:5000"))
_CLOSED: Final = _Shape.of(SessionClosed(**_COMMON, protocol="http", operations=10))


class Month:
    """Deliveries of both streams, `events` of them in all, spread over the month."""

    def __init__(self, events: int, seed: int = 7) -> None:
        self.events, self.operations = events, 0
        self._random = random.Random(seed)
        self._numbers = 0
        self._made = 0
        self._seqs = {"AUDIT": 0, "RECORDING": 0}
        self._start = int((END - timedelta(days=DAYS)).timestamp() * 1_000_000)
        self._now = self._start
        self._step = DAYS * 86_400_000_000 / max(1, events)

    def __iter__(self) -> Iterator[tuple[str, Delivery]]:
        """Stream and delivery, in order."""
        while self._made < self.events:
            session, agent = self._id(), self._random.randrange(200)
            values = {_SESSION: session, '"agent-0"': f'"agent-{agent}"'}
            yield self._deliver(_OPENED, values)
            for number in range(10):
                yield from self._operation(number, values)
            yield self._deliver(_CLOSED, values)

    def _operation(self, number: int, values: dict[str, str]) -> Iterator[tuple[str, Delivery]]:
        chance = self._random.random()
        shapes = _CHAT if chance < 0.4 else _READ if chance < 0.95 else _WRITE if chance < 0.97 else _DENIED
        group = self.operations // 100
        run = RUN if group % 1000 == 999 else f"run-{group}"
        trace = f"{group:032x}"
        self.operations += 1
        mine = values | {
            _OPERATION: self._id(),
            "STATEMENT": self._text(60 if shapes is _CHAT else 25),
            '"RUN"': f'"{run}"',
            "TRACETRACETRACETRACETRACETRACE00": trace,
        }
        if shapes is _WRITE:
            mine[_APPROVAL] = self._id()
        yield self._deliver(shapes["attempt"], mine)
        yield self._deliver(shapes["verdict"], mine)
        if shapes is _WRITE:
            yield self._deliver(_ASKED["requested"], mine)
            yield self._deliver(_ASKED["resolved"], mine)
        if shapes is not _DENIED:
            content = {"CONTENT": self._text(180), "4444444": str(number + 1)}
            yield self._deliver(shapes["frame"], mine | content, "RECORDING")
        yield self._deliver(shapes["finished"], mine)

    def _deliver(self, shape: _Shape, values: dict[str, str], stream: str = "AUDIT") -> tuple[str, Delivery]:
        self._now = int(self._start + self._made * self._step)
        self._made += 1
        body, subject = shape.body, shape.subject
        at = datetime.fromtimestamp(self._now / 1_000_000, UTC).isoformat(timespec="microseconds")
        for old, new in (*values.items(), (_EVENT, self._id()), ("2001-01-01T00:00:00.123456Z", f"{at[:-6]}Z")):
            body = body.replace(old, new)
            subject = subject.replace(old, new)
        self._seqs[stream] += 1
        return stream, Delivery(subject, body.encode(), self._seqs[stream], self._seqs[stream], self._now)

    def _id(self) -> str:
        """A UUIDv7 of now (RFC 9562, section 5.7)."""
        self._numbers += 1
        made = f"{self._now // 1000:012x}7{self._numbers >> 48 & 0xFFF:03x}8{self._numbers:015x}"
        return f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=words))
