"""Where the audit is stored, read from one DSN. Counterpart: `clickhouse.py`, which connects there.

clickhouse://user:password@host:8123/database     a ClickHouse server over HTTP
clickhouses://user:password@host:8443/database    the same over TLS, certificate verified
chdb://data/audit   chdb:///var/lib/countersign   an embedded engine; relative or absolute directory
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_DATABASE: Final = "countersign"
_PORTS: Final = {"clickhouse": 8123, "clickhouses": 8443}  # ClickHouse's defaults for HTTP and HTTPS


@dataclass(frozen=True, slots=True)
class EmbeddedAddress:
    """A chDB directory. chDB opens one directory per process, and a directory in one process at a time."""

    directory: Path
    database: str = DEFAULT_DATABASE

    def __str__(self) -> str:
        return f"chdb://{self.directory}"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A ClickHouse server. The password is in no `str()` or `repr()` of it."""

    host: str
    port: int
    secure: bool
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = DEFAULT_DATABASE

    def __str__(self) -> str:
        scheme = "clickhouses" if self.secure else "clickhouse"
        return f"{scheme}://{self.user}@{self.host}:{self.port}/{self.database}"


Address = EmbeddedAddress | ServerAddress


def parse_dsn(dsn: str) -> Address:
    """Read a DSN as described above.

    Raises:
        ValueError: the DSN names no store; the message repeats no part that could hold the password.
    """
    scheme, separator, rest = dsn.partition("://")
    if separator and scheme == "chdb":
        return _embedded(rest)
    if separator and scheme in _PORTS:
        return _server(scheme, dsn)
    raise ValueError("an audit DSN starts with clickhouse://, clickhouses:// or chdb://")


def _embedded(location: str) -> EmbeddedAddress:
    if not location or location.startswith((":memory:", "file:")) or "?" in location:
        raise ValueError("chdb:// needs a plain directory: an audit log in memory would not outlive its process")
    return EmbeddedAddress(Path(location))


def _server(scheme: str, dsn: str) -> ServerAddress:
    parts = urlsplit(dsn)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{scheme}:// has a host or port that cannot be read") from None
    if not host or parts.query or parts.fragment:
        raise ValueError(f"{scheme}:// needs user:password@host:port/database and nothing more")
    return ServerAddress(
        host=host,
        port=port or _PORTS[scheme],
        secure=scheme == "clickhouses",
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or DEFAULT_DATABASE,
    )
