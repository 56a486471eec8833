"""`countersign.yaml` as typed objects (architecture, section 5). Everything but `connectors` has a default."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Name
from services.runtime.identity.settings import IssuerSettings
from services.runtime.settings.approvals import ApprovalSettings
from services.runtime.settings.audit import AuditSettings
from services.runtime.settings.connectors import ConnectorSettings
from services.runtime.settings.values import Address, ListenAddress, Seconds, Secret, Section, Size

#: Bytes of content that one message of the bus carries however JSON escapes it (services/runtime/nats/config.py).
MAX_WINDOW = 1024 * 1024


class ListenTls(Section):
    """Certificate and key of the listeners for agents: PEM files, or `auto` for a local CA in the data directory."""

    cert: Path
    key: Path


class Listen(Section):
    """Where each front listens; port 0 lets the system choose."""

    http: ListenAddress = Address(host="127.0.0.1", port=8080)
    postgres: ListenAddress = Address(host="127.0.0.1", port=6432)
    clickhouse: ListenAddress = Address(host="127.0.0.1", port=8123)
    #: Health, metrics and, for the approver, Slack's interactivity endpoint.
    policy: ListenAddress = Address(host="127.0.0.1", port=9101)
    approver: ListenAddress = Address(host="127.0.0.1", port=9102)
    recorder: ListenAddress = Address(host="127.0.0.1", port=9103)
    tls: ListenTls | Literal["auto"] | None = None


class Person(Section):
    """A reviewer whom Slack or e-mail knows by address, and the groups they decide for."""

    email: str
    #: The `sub` they have in their own tokens, so that nobody approves their own operation.
    subject: str = ""
    issuer: str = ""
    groups: tuple[str, ...] = ()


class IdentitySettings(Section):
    """Whose tokens count. Without issuers, those of the local issuer do."""

    issuers: tuple[IssuerSettings, ...] = ()
    #: Accept the local issuer's tokens; by default only while no other issuer is configured.
    local: bool | None = None
    people: tuple[Person, ...] = ()

    @property
    def accepts_local(self) -> bool:
        """Whether tokens of `countersign token` count."""
        return not self.issuers if self.local is None else self.local


class NatsSettings(Section):
    """The bus. `embedded` is for `countersign up`; otherwise a list of servers."""

    servers: Literal["embedded"] | tuple[str, ...] = "embedded"
    user: Secret | None = None
    password: Secret | None = None
    #: CA bundle for tls:// servers.
    ca: Path | None = None
    #: Copies of each stream: 1 embedded, 3 in a cluster.
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    #: `always` fsyncs each message before its ack; `default` trusts the page cache for up to two minutes.
    sync: Literal["default", "always"] = "default"
    #: Size at which a stream refuses new events: then nothing is forwarded (G2).
    max_bytes: Size = 8 * 1024**3
    #: Recorded events are kept this long for other listeners.
    max_age: Seconds = 7 * 86400


class MaskingSettings(Section):
    """What is sensitive here beside what the detectors know; always looked for, and named in rules like any entity."""

    #: Entity name (`EMPLOYEE_ID`) to regular expression; docs/masking.md says what it may hold.
    patterns: dict[str, str] = Field(default_factory=dict)
    #: Words that must not pass, found as the entity `DENY_WORD`.
    deny_words: tuple[str, ...] = ()


class Limits(Section):
    """Named bounds; each protects something (G10)."""

    #: No verdict or no ack by then: 503, nothing forwarded.
    verdict_timeout: Annotated[Seconds, Field(gt=0)] = 2
    #: Content up to here is read before judging, inspected and recorded; at most what a message of the bus can carry.
    inspection_window: Annotated[Size, Field(le=MAX_WINDOW)] = 256 * 1024
    #: All headers of a request together.
    headers: Size = 32 * 1024
    #: To send a whole request head, and then between two pieces of the body: a slow loris loses its connection.
    request_head: Seconds = 10
    request_idle: Seconds = 30
    #: A connection without a request.
    keep_alive: Seconds = 75
    #: HTTP connections of one ingress; beyond them the oldest without a token makes room (file descriptors).
    connections: int = Field(default=4096, ge=1)
    #: Operations in flight in one ingress; more are answered 503 at once.
    operations: int = Field(default=1000, ge=1)
    #: Of these, apart: callers that wait for people in one ingress, and of one identity; more are refused.
    held: int = Field(default=1000, ge=1)
    held_per_identity: int = Field(default=100, ge=1)
    #: Events waiting for their ack; when full, nothing is forwarded.
    outbox: int = Field(default=10_000, ge=1)
    #: Refused requests recorded per second by one ingress; the rest are counted.
    refusals_per_second: int = Field(default=20, ge=1)
    #: On SIGTERM: how long work in flight may take to end.
    drain: Seconds = 20


class Telemetry(Section):
    """Logs and traces."""

    log: Literal["auto", "json", "pretty"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    #: OTLP/HTTP endpoint for traces, such as http://collector:4318; off by default.
    otlp: str | None = None


class Settings(Section):
    """The whole file."""

    connectors: dict[Name, ConnectorSettings]
    listen: Listen = Listen()
    identity: IdentitySettings = IdentitySettings()
    approvals: ApprovalSettings = ApprovalSettings()
    nats: NatsSettings = NatsSettings()
    audit: AuditSettings = AuditSettings()
    masking: MaskingSettings = MaskingSettings()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()
    #: The policy file `up` applies, beside this file unless absolute.
    policy: Path = Path("policy.yaml")
