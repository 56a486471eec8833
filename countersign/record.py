"""Reads the record, wherever it is: of a running instance, of a stopped one, or on another ClickHouse endpoint.

A running instance is asked over its ClickHouse HTTP endpoint as `auditor`, with the password in the data directory;
a stopped one by opening its store here, through the same guard (services/recorder). COUNTERSIGN_CLICKHOUSE_URL names
another ClickHouse HTTP endpoint: user and password in the address, else COUNTERSIGN_TOKEN as a bearer token; the
database is `countersign` unless `?database=` says otherwise.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from countersign.errors import CommandError, Misuse
from countersign.http import ERROR_BYTES, send
from countersign.where import Gateway, data_dir, token
from services.recorder.store_address import DEFAULT_DATABASE
from services.runtime.data_dir import DataDir

if TYPE_CHECKING:
    from countersign.audit_store import StoppedStore

#: The embedded store in a data directory, unless `audit.dsn` names another.
EMBEDDED_STORE: Final = "clickhouse"
#: Bytes handed on at a time.
PIECE: Final = 256 * 1024

_CODE: Final = re.compile(r"^Code: (\d+)\. DB::")
#: ClickHouse's TSV escapes, in which a parameter's value travels ("HTTP interface", queries with parameters).
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})

Parameters = Mapping[str, str]


class QueryRefused(CommandError):
    """ClickHouse's own words; `code` is its number, None when there is none."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        found = _CODE.match(words)
        self.code = int(found[1]) if found else None


class Record(Protocol):
    """Somewhere to ask."""

    def ask(
        self, sql: str, format_: str, parameters: Parameters, settings: Parameters | None = None
    ) -> Iterator[bytes]:
        """The result as ClickHouse formats it, in pieces. Raises QueryRefused before the first, CommandError."""
        ...


def rows(record: Record, sql: str, parameters: Parameters | None = None) -> list[dict[str, Any]]:
    """The result's rows by column name, all in memory: for questions with a LIMIT. Raises QueryRefused."""
    return list(each_row(record, sql, parameters))


def each_row(record: Record, sql: str, parameters: Parameters | None = None) -> Iterator[dict[str, Any]]:
    """One row after the other."""
    for line in lines(record.ask(sql, "JSONEachRow", parameters or {})):
        yield json.loads(line)


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines out of pieces, without their ends."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def escaped(parameters: Parameters) -> dict[str, str]:
    """Values in ClickHouse's escaped form."""
    return {name: value.translate(_ESCAPES) for name, value in parameters.items()}


@dataclass(frozen=True)
class Endpoint:
    """A ClickHouse HTTP endpoint and how to introduce ourselves."""

    front: Gateway
    headers: dict[str, str] = field(repr=False)
    database: str = DEFAULT_DATABASE

    def ask(
        self, sql: str, format_: str, parameters: Parameters, settings: Parameters | None = None
    ) -> Iterator[bytes]:
        """Answer the reply's body as it comes."""
        bound = {f"param_{name}": value for name, value in escaped(parameters).items()}
        url = f"{self.front.url}/?{urlencode({**self._fixed, **(settings or {}), **bound})}"
        reply = send(url, {**self.headers, "X-ClickHouse-Format": format_}, body=sql.encode(), tls=self.front.tls())
        if reply.status != 200:
            words = reply.read(ERROR_BYTES).decode(errors="replace").strip()
            raise QueryRefused(words or f"{self.front.url}: status {reply.status}")
        while piece := reply.read(PIECE):
            yield piece

    @property
    def _fixed(self) -> dict[str, str]:
        # Else a server that fails in the middle has said 200 by then, and half an answer looks like a whole one.
        return {"database": self.database, "wait_end_of_query": "1"}


@contextmanager
def opened(given: Path | None) -> Iterator[Record]:
    """The record of the instance that `--data` or the environment names. Raises CommandError, Misuse."""
    directory = data_dir(given)
    url = os.environ.get("COUNTERSIGN_CLICKHOUSE_URL") if given is None else None
    if url:
        yield remote(url)
    elif address := _running(directory):
        yield Endpoint(Gateway(address), _auditor(directory))
    else:
        store = _stopped(directory)
        try:
            yield store
        finally:
            store.close()


def _stopped(data: DataDir) -> StoppedStore:
    from countersign import audit_store  # noqa: PLC0415 - the engine takes a second to load, and is rarely needed

    return audit_store.StoppedStore(data.root, data.root / EMBEDDED_STORE)


def remote(url: str) -> Endpoint:
    """The endpoint that COUNTERSIGN_CLICKHOUSE_URL names. Raises Misuse."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misuse("COUNTERSIGN_CLICKHOUSE_URL: write an address such as https://user:password@clickhouse:8443")
    host = parts.netloc.rpartition("@")[2]
    front = Gateway(urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", "")))
    database = dict(parse_qsl(parts.query)).get("database", DEFAULT_DATABASE)
    if parts.username is None:
        return Endpoint(front, {"Authorization": f"Bearer {token()}"}, database)
    return Endpoint(front, _basic(unquote(parts.username), unquote(parts.password or "")), database)


def _running(data: DataDir) -> str | None:
    """The endpoint of a running instance, or None when none runs. Raises CommandError when it has no such endpoint."""
    try:
        endpoints = data.read_endpoints()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if address := endpoints.get("clickhouse"):
        return str(address)
    raise CommandError("this instance writes to a ClickHouse server: set COUNTERSIGN_CLICKHOUSE_URL to ask that one")


def _auditor(data: DataDir) -> dict[str, str]:
    try:
        return _basic("auditor", data.audit_password.read_text().strip())
    except OSError as error:
        raise CommandError(f"{data.audit_password}: {error.strerror}") from None


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
