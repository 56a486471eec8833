"""An afternoon at a small company, as events: an agent's run over a model and a database, and what people said.

Everything that replay, views and exports have to cope with happens once: a streamed reply, rows, a question with its
preview and answer, a grant, denials, a request turned away at the door, a session that is still open, cut and hostile
content.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.events import (
    ApprovalPreviewed,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalState,
    ApprovalUsed,
    ContentErased,
    Event,
    GrantRevoked,
    OperationAttempted,
    OperationFinished,
    Outcome,
    Refusal,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    VerdictReached,
)
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation
from schemas.verdicts import ApprovalTerms, Decision, Requirement, Verdict

START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
RUN = "nightly-refunds"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE = "11f92f3577b34da6a3ce929d0e0e4711"

REFUNDER = Identity(
    subject="refund-agent", issuer="https://idp.example", email="refunds@example.com", groups=("agents",)
)
REPORTER = Identity(subject="report-agent", issuer="https://idp.example", groups=("agents", "reports"))
MODEL = Connector(name="openai", protocol="http", tags={"env": "prod"})
ORDERS = Connector(name="orders", protocol="postgres", tags={"env": "prod"})
SHELL = Connector(name="bastion", protocol="ssh")

#: Runs if a page renders it as markup, or a terminal obeys it.
SCRIPT = "<script>document.title='owned';fetch('http://evil.invalid/')</script><img src=x onerror=alert(1)>"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b31m\u202egnp.exe\r\x08"

SELECT = "SELECT id, email, total FROM public.customers JOIN public.orders USING (id) WHERE total > 100"
UPDATE = "UPDATE public.orders SET refunded = true WHERE id = 4711"
DROP = "DROP TABLE public.orders"
PROMPT = "Refund order 4711 of EMAIL#86efe752a33ffa58, please."


def at(seconds: float) -> datetime:
    """A moment of the afternoon."""
    return START + timedelta(seconds=seconds)


@dataclass
class World:
    """Events in the order they were published, and the ids that tests ask for."""

    events: list[Event] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    _numbers: int = 0

    def id(self, seconds: float, name: str = "") -> str:
        """A UUIDv7 of that moment (RFC 9562, section 5.7), the same in every world."""
        self._numbers += 1
        millis = int(at(seconds).timestamp() * 1000)
        made = f"{millis:012x}7{self._numbers:03x}8{self._numbers:015x}"
        found = f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"
        if name:
            self.ids[name] = found
        return found

    def say(self, kind: type[Event], seconds: float, session: str, **fields: Any) -> Event:
        """Publish one event."""
        event = kind(event_id=self.id(seconds), at=at(seconds), ingress="i-1", session_id=self.ids[session], **fields)
        self.events.append(event)
        return event

    def opened(self, name: str, seconds: float, protocol: str) -> None:
        self.id(seconds, name)
        self.say(SessionOpened, seconds, name, protocol=protocol, peer="10.1.2.3:40404", tls=True)

    def closed(self, name: str, seconds: float, protocol: str, operations: int) -> None:
        self.say(SessionClosed, seconds, name, protocol=protocol, operations=operations, reason="eof")

    def attempt(
        self,
        name: str,
        seconds: float,
        session: str,
        identity: Identity,
        connector: Connector,
        action: str,
        statement: str,
        *,
        resources: tuple[str, ...] = (),
        run: str = "",
        trace: str = TRACE,
        reason: str = "",
        **operation: Any,
    ) -> OperationAttempted:
        event = self.say(
            OperationAttempted,
            seconds,
            session,
            operation_id=self.id(seconds, name),
            traceparent=f"00-{trace}-00f067aa0ba902b7-01" if trace else "",
            identity=identity,
            connector=connector,
            operation=Operation(
                action=action, resources=resources, statement=statement, digest=f"{self._numbers:064x}", **operation
            ),
            asked=Asked(run=run, reason=reason, wait_seconds=300),
            peer="10.1.2.3:40404",
        )
        assert isinstance(event, OperationAttempted)
        return event

    def judged(self, of: OperationAttempted, seconds: float, decision: Decision, rule: str, **more: Any) -> None:
        by = more.pop("by", "policy")
        self.say(
            VerdictReached,
            seconds,
            self.session_of(of),
            operation_id=of.operation_id,
            by=by,
            verdict=Verdict(decision=decision, rules=(rule,) if rule else (), policy_version="v7", **more),
        )

    def finished(self, of: OperationAttempted, seconds: float, outcome: Outcome, **more: Any) -> None:
        started = (at(seconds) - of.at).total_seconds()
        fields: dict[str, Any] = {"decision": "allow", "policy_version": "v7", "decided_ms": 1.5}
        self.say(
            OperationFinished,
            seconds,
            self.session_of(of),
            **(
                fields
                | {
                    "operation_id": of.operation_id,
                    "traceparent": of.traceparent,
                    "connector": of.connector.name,
                    "protocol": of.connector.protocol,
                    "outcome": outcome,
                    "total_ms": started * 1000,
                }
                | more
            ),
        )

    def frame(self, of: OperationAttempted, seconds: float, direction: str, data: str, media: str, **more: Any) -> None:
        session = self.session_of(of)
        seq = sum(isinstance(e, SessionFrame) and e.session_id == of.session_id for e in self.events) + 1
        self.say(
            SessionFrame,
            seconds,
            session,
            protocol=of.connector.protocol,
            operation_id=of.operation_id,
            seq=seq,
            direction=direction,
            data=data,
            media_type=media,
            **more,
        )

    def session_of(self, event: Event) -> str:
        return next(name for name, found in self.ids.items() if found == event.session_id)


def afternoon() -> World:
    """The same events each time."""
    world = World()
    _erased(world)
    _chat(world)
    _database(world)
    _grant(world)
    _shell(world)
    _door(world)
    return world


def _erased(world: World) -> None:
    """The evening before: a session whose content has been erased since."""
    began = -15 * 3600
    world.opened("erased", began, "http")
    asked = world.attempt("gone", began + 1, "erased", REPORTER, MODEL, "llm.chat", "about Ms. Doe", trace="")
    world.judged(asked, began + 1.01, Decision.ALLOW, "agents-may-chat")
    world.frame(asked, began + 2, "response", "Ms. Doe lives in Bern", "text/plain")
    world.finished(asked, began + 2.1, Outcome.FORWARDED, rules=("agents-may-chat",), status="200", response_bytes=21)
    world.closed("erased", began + 3, "http", 1)
    world.say(ContentErased, began + 60, "erased", by="dpo@example.com", reason="asked for by Ms. Doe's lawyer")


def streamed(*words: str) -> Iterator[str]:
    """OpenAI's chat completion chunks as server-sent events."""
    for word in words:
        escaped = word.replace("\\", "\\\\").replace('"', '\\"')
        yield f'data: {{"choices":[{{"delta":{{"content":"{escaped}"}}}}]}}\n\n'
    yield "data: [DONE]\n\n"


def _chat(world: World) -> None:
    world.opened("chat", 0, "http")
    asked = world.attempt(
        "prompt", 0.1, "chat", REFUNDER, MODEL, "llm.chat", PROMPT, resources=("gpt-5",), run=RUN,
        method="POST", path="/v1/chat/completions", attributes={"model": "gpt-5", "stream": True},
    )  # fmt: skip
    world.judged(asked, 0.102, Decision.ALLOW, "agents-may-chat")
    body = '{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"' + PROMPT + '"}]}'
    world.frame(asked, 0.11, "request", body, "application/json")
    pieces = list(streamed("I will ", "refund order 4711. ", SCRIPT))
    for number, piece in enumerate(pieces):
        world.frame(asked, 0.6 + number * 0.4, "response", piece, "text/event-stream")
    world.finished(
        asked, 2.4, Outcome.FORWARDED, rules=("agents-may-chat",), status="200",
        masked={"request.EMAIL": 1, "response.EMAIL": 2}, request_bytes=len(body), response_bytes=900,
    )  # fmt: skip
    world.closed("chat", 9, "http", 1)


def _database(world: World) -> None:
    world.opened("db", 4, "postgres")
    read = world.attempt(
        "select", 4.2, "db", REFUNDER, ORDERS, "sql.select", SELECT,
        resources=("orders.public.customers", "orders.public.orders"),
    )  # fmt: skip
    world.judged(read, 4.201, Decision.ALLOW, "reads-are-masked")
    rows = '["id","email","total"]\n[4711,"EMAIL#86efe752a33ffa58",120.5]\n[4712,"' + "<b>bold</b>" + '",null]\n'
    world.frame(read, 4.25, "response", rows, "application/x-ndjson", truncated=True)
    world.finished(
        read, 4.3, Outcome.FORWARDED, rules=("reads-are-masked",), status="00000", rows=2,
        masked={"response.EMAIL": 2}, response_bytes=120,
    )  # fmt: skip
    write = world.attempt(
        "update", 6, "db", REFUNDER, ORDERS, "sql.update", UPDATE, resources=("orders.public.orders",),
        reason="the customer returned it " + ESCAPES,
    )  # fmt: skip
    _question(world, write)
    drop = world.attempt(
        "drop",
        70,
        "db",
        REFUNDER,
        ORDERS,
        "sql.drop",
        f"{DROP} -- {SCRIPT}{ESCAPES}",
        resources=("orders.public.orders",),
    )
    world.judged(drop, 70.002, Decision.DENY, "never-drop", reason="DROP is not allowed through the gateway")
    world.finished(
        drop, 70.01, Outcome.DENIED, decision="deny", rules=("never-drop",), status="42501",
        reason="DROP is not allowed through the gateway",
    )  # fmt: skip


def _question(world: World, write: OperationAttempted) -> None:
    approval = world.id(6.1, "approval")
    common: dict[str, Any] = {"approval_id": approval, "operation_id": write.operation_id}
    terms = ApprovalTerms(
        requirements=(Requirement(rule="writes-need-a-person", by=("dba",), quorum=1),),
        expires_at=at(906),
        grant_seconds=3600,
        preview="count",
    )
    world.judged(write, 6.1, Decision.HOLD, "writes-need-a-person", approval_id=approval, terms=terms)
    world.say(
        ApprovalRequested, 6.1, "db", **common, identity=write.identity, connector=write.connector,
        operation=write.operation, asked=write.asked, terms=terms, policy_version="v7",
    )  # fmt: skip
    world.say(ApprovalPreviewed, 6.3, "db", **common, estimated_rows=1, counted_rows=1)
    world.say(
        ApprovalResolved, 50, "db", **common, state=ApprovalState.APPROVED, decided_by=("dana@example.com",),
        reason="checked the return", grant_id=world.id(50, "grant"),
    )  # fmt: skip
    world.judged(
        write, 50.01, Decision.ALLOW, "writes-need-a-person", by="approver", approval_id=approval,
        certificate="e30.e30.c2ln", approved_by=("dana@example.com",),
    )  # fmt: skip
    world.finished(
        write, 50.2, Outcome.FORWARDED, rules=("writes-need-a-person",), status="00000", rows=1,
        approval_id=approval, approved_by=("dana@example.com",),
    )  # fmt: skip
    world.say(ApprovalUsed, 50.2, "db", **common, outcome=Outcome.FORWARDED, status="00000", rows=1, total_ms=190)


def _grant(world: World) -> None:
    """A second write, let through by the grant that came with the first."""
    again = world.attempt(
        "again", 90, "db", REFUNDER, ORDERS, "sql.update", UPDATE.replace("4711", "4712"),
        resources=("orders.public.orders",), trace=OTHER_TRACE,
    )  # fmt: skip
    approval = world.ids["approval"]
    world.judged(
        again, 90.002, Decision.ALLOW, "writes-need-a-person", approval_id=approval, certificate="e30.e30.c2ln",
        approved_by=("dana@example.com",),
    )  # fmt: skip
    world.finished(
        again, 90.1, Outcome.FORWARDED, rules=("writes-need-a-person",), status="00000", rows=1,
        approval_id=approval, approved_by=("dana@example.com",),
    )  # fmt: skip

    world.say(
        GrantRevoked, 95, "db", approval_id=approval, operation_id=world.ids["update"], grant_id=world.ids["grant"],
        revoked_by="eve@example.com", reason="the refunds are done",
    )  # fmt: skip


def _shell(world: World) -> None:
    world.opened("shell", 100, "ssh")
    shell = world.attempt("shell-op", 100.5, "shell", REPORTER, SHELL, "ssh.shell", "shell", trace="")
    world.judged(shell, 100.6, Decision.ALLOW, "reports")
    header = '{"version": 2, "width": 80, "height": 24}\n'
    world.frame(shell, 101, "response", header + '[0.1, "o", "$ "]\n', "application/x-asciicast")
    world.frame(shell, 102, "response", '[1.2, "o", "ls /srv\\r\\nreport.csv\\r\\n$ "]\n', "application/x-asciicast")
    world.frame(shell, 160, "response", '[60.0, "o", "exit\\r\\n"]\n', "application/x-asciicast")
    world.finished(shell, 161, Outcome.FORWARDED, rules=("reports",), status="0")
    world.closed("shell", 161.1, "ssh", 1)


def _door(world: World) -> None:
    world.opened("door", 200, "http")
    world.say(
        OperationFinished,
        200.1,
        "door",
        operation_id=world.id(200.1, "refused"),
        connector="-",
        protocol="http",
        outcome=Outcome.DENIED,
        status="401",
        error="the token has expired",
        refusal=Refusal(
            code="unauthenticated", connector="openai", action="http.post", statement="POST /v1/chat", peer="10.9.9.9:1"
        ),
    )
    world.closed("door", 200.2, "http", 0)
