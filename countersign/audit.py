"""`countersign audit sql`: ask the audit in SQL and print what ClickHouse prints.

A running instance is asked over its ClickHouse HTTP endpoint as `auditor`, with the password in the data directory;
a stopped one by opening its store here, through the same guard (services/recorder). COUNTERSIGN_CLICKHOUSE_URL names
another ClickHouse HTTP endpoint: user and password in the address, else COUNTERSIGN_TOKEN as a bearer token.
"""

import base64
import os
import sys
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote, urlsplit, urlunsplit

import typer

from countersign.errors import CommandError, Misuse
from countersign.http import ERROR_BYTES, send
from countersign.where import DataOption, Gateway, data_dir, token
from services.runtime.data_dir import DataDir

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

#: The embedded store in a data directory, unless `audit.dsn` names another.
EMBEDDED_STORE = "clickhouse"
#: Bytes handed on at a time.
_PIECE = 256 * 1024


@app.callback()
def _audit() -> None:
    """Read the audit."""


@dataclass(frozen=True)
class Store:
    """A ClickHouse HTTP endpoint and how to introduce ourselves."""

    front: Gateway
    headers: dict[str, str]


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A SELECT, or - to read it from stdin.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="A ClickHouse format, such as JSONEachRow or CSV.")
    ] = "TabSeparated",
    data: DataOption = None,
) -> None:
    """Run a query on the audit and print the result as ClickHouse formats it."""
    text = sys.stdin.read() if query == "-" else query
    directory = data_dir(data)
    remote = os.environ.get("COUNTERSIGN_CLICKHOUSE_URL") if data is None else None
    if remote:
        _over_http(_remote(remote), text, format_)
    elif address := _running(directory):
        _over_http(Store(Gateway(address), _auditor(directory)), text, format_)
    else:
        _directly(directory, text, format_)


def _over_http(store: Store, text: str, format_: str) -> None:
    headers = {**store.headers, "X-ClickHouse-Format": format_}
    reply = send(f"{store.front.url}/", headers, body=text.encode(), tls=store.front.tls())
    if reply.status != 200:
        words = reply.read(ERROR_BYTES).decode(errors="replace").strip()
        raise CommandError(words or f"{store.front.url}: status {reply.status}")
    while piece := reply.read(_PIECE):
        _print(piece)


def _remote(url: str) -> Store:
    """The endpoint of COUNTERSIGN_CLICKHOUSE_URL. Raises Misuse."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misuse("COUNTERSIGN_CLICKHOUSE_URL: write an address such as https://user:password@clickhouse:8443")
    host = parts.netloc.rpartition("@")[2]
    front = Gateway(urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", "")))
    if parts.username is None:
        return Store(front, {"Authorization": f"Bearer {token()}"})
    return Store(front, _basic(unquote(parts.username), unquote(parts.password or "")))


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


def _print(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _directly(data: DataDir, text: str, format_: str) -> None:
    from countersign import audit_store  # noqa: PLC0415 - the engine takes a second to load, and is rarely needed

    _print(audit_store.ask(data.root, data.root / EMBEDDED_STORE, text, format_))
