"""`connectors:` of `countersign.yaml`: what agents reach, one class per protocol (architecture, section 5)."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from services.runtime.settings.values import Seconds, Secret, Section, Size

#: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Fields of a request that are the connection's or its framing's.
_FRAMING = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive"}
    | {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


class Inject(Section):
    """The credential the upstream gets, in one place; whatever the agent sends there is removed.

    Exactly one of `header` (with `value`), `query` (with `value`) or `basic`.
    """

    header: str | None = None
    query: str | None = None
    value: Secret | None = None
    user: Secret | None = None
    password: Secret | None = None

    @field_validator("header")
    @classmethod
    def _field_name(cls, value: str | None) -> str | None:
        if value is not None and not _TOKEN.fullmatch(value):
            raise ValueError("this is not the name of a header field")
        if value is not None and value.lower() in _FRAMING:
            raise ValueError(f"{value} says where a request goes or ends, and takes no credential")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        basic = self.user is not None or self.password is not None
        if sum([self.header is not None, self.query is not None, basic]) != 1:
            raise ValueError("name one place: header with value, query with value, or user with password")
        if basic and (self.user is None or self.password is None or self.value is not None):
            raise ValueError("basic authentication takes user and password, and nothing else")
        if not basic and self.value is None:
            raise ValueError("`value` is missing: the credential to inject, such as ${env:NAME}")
        return self


class UpstreamTls(Section):
    """TLS towards the upstream: own CA bundle, client certificate, expected name. Verification cannot be turned off."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class Timeouts(Section):
    """Towards one upstream."""

    #: To get a free connection, and as long again to open one.
    connect: Seconds = 5
    #: From the last byte of the request to the first of the reply; models think for minutes.
    first_byte: Seconds = 300
    #: Between two pieces of a body, either way, whichever side is slow.
    idle: Seconds = 120


class HttpConnector(Section):
    """An HTTP upstream: a vendor's API or a model provider."""

    protocol: Literal["http"] = "http"
    upstream: str
    inject: Inject | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    tls: UpstreamTls = UpstreamTls()
    timeouts: Timeouts = Timeouts()
    #: Largest request body; a larger one is refused with 413.
    max_body: Size = 100 * 1024**2
    #: Connections kept to this upstream by one ingress.
    pool: int = Field(default=100, ge=1)

    @field_validator("upstream")
    @classmethod
    def _base_url(cls, value: str) -> str:
        try:
            parts, port = urlsplit(value), urlsplit(value).port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("write the upstream as https://host[:port][/path]")
        if parts.username or parts.password:
            raise ValueError("credentials belong under `inject`, not in the upstream's address")
        if parts.query or parts.fragment:
            raise ValueError("the upstream is a base address: no query, no fragment")
        return value.rstrip("/")


SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

AuthMethod = Literal["scram-sha-256", "md5", "password", "none"]


class PostgresUpstream(Section):
    """Where the database is; the names are libpq's (PostgreSQL documentation, "Database Connection Control")."""

    #: A host name or address, or the directory of a Unix socket.
    host: str
    port: int = Field(default=5432, ge=1, le=65535)
    database: str
    #: libpq's meanings; over a Unix socket there is no TLS. `allow` and `prefer` can be downgraded: say so knowingly.
    sslmode: SslMode = "verify-full"
    #: CA bundle; by default the system's.
    sslrootcert: Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    #: Ways to log in that are accepted (libpq's `require_auth`). By default all over verified TLS, a Unix socket or
    #: loopback; elsewhere SCRAM alone, so that nobody in between gets the password or poses as the database.
    require_auth: tuple[AuthMethod, ...] | None = None
    #: SCRAM-SHA-256-PLUS (RFC 5929, `tls-server-end-point`): used where offered, or insisted on.
    channel_binding: Literal["disable", "prefer", "require"] = "prefer"


class PostgresCredential(Section):
    """The role that the gateway logs in as; agents never see it."""

    user: Secret
    password: Secret | None = None


class PostgresTimeouts(Section):
    """Towards one database. How long a statement may take is the database's `statement_timeout`."""

    #: Until a session is logged in.
    connect: Seconds = 5


class PostgresConnector(Section):
    """A PostgreSQL database."""

    protocol: Literal["postgres"]
    upstream: PostgresUpstream
    credential: PostgresCredential
    tags: dict[str, str] = Field(default_factory=dict)
    timeouts: PostgresTimeouts = PostgresTimeouts()
    #: Sessions of agents at once at one ingress; more are refused with 53300.
    pool: int = Field(default=100, ge=1)


def _protocol(value: Any) -> str:
    """HTTP unless told otherwise."""
    found = value.get("protocol", "http") if isinstance(value, dict) else getattr(value, "protocol", "http")
    return str(found)


#: More protocols join here, told apart by `protocol`.
ConnectorSettings = Annotated[
    Annotated[HttpConnector, Tag("http")] | Annotated[PostgresConnector, Tag("postgres")], Discriminator(_protocol)
]
