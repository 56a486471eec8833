"""The same statements directly and through an allow-all gateway: the same bytes come back.

What differs by nature is made equal first: process ids, OIDs, and what `EXPLAIN` and `now()` say of time.
"""

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.frontend import (
    PORTAL,
    STATEMENT,
    Bind,
    CopyDone,
    Describe,
    Execute,
    Parse,
    Sync,
)
from tests.postgres.gateway import Gateway
from tests.postgres.wire import TRUSTED, Wire, past, through

CORPUS = [
    line
    for line in (Path(__file__).parent / "corpus.sql").read_text().splitlines()
    if line and not line.startswith("#")
]
_DDL = ("CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "TRUNCATE")
#: Answers to these name the session or the clock.
_OWN = re.compile(rb"\b\d{4,}\b")


@pytest.fixture
async def both(gateway: Gateway) -> AsyncIterator[tuple[Wire, Wire]]:
    """A connection past the gateway, in the gateway's role, and one through it; a database each."""
    await gateway.boot(connector={"credential": {"user": TRUSTED}})
    other = f"{gateway.database}_past"
    gateway.server.execute(f"ALTER DATABASE {gateway.database} OWNER TO {TRUSTED}")
    gateway.server.execute(f"CREATE DATABASE {other} OWNER {TRUSTED} STRATEGY FILE_COPY")
    try:
        async with through(gateway) as through_it, past(gateway, other) as past_it:
            yield past_it, through_it
    finally:
        gateway.server.execute(f"DROP DATABASE {other} WITH (FORCE)")


def normal(messages: Sequence[Any]) -> list[bytes]:
    """Each message's bytes, without what differs by nature."""
    return [_normal(one) for one in messages]


def _normal(one: Any) -> bytes:
    if isinstance(one, backend.Notification):
        one = backend.Notification(0, one.channel, one.payload)
    elif isinstance(one, backend.RowDescription):
        return re.sub(rb"(table=|type=)(1[6-9]|[2-9]\d)\d{3}", b"", repr(one).encode())
    elif isinstance(one, backend.Report):
        one = backend.Report(one.kind, tuple((code, _OWN.sub(b"#", value)) for code, value in one.fields))
    return bytes(one.encode())


async def run(wire: Wire, sql: str, extended: bool) -> list[Any]:
    if not extended:
        wire.send(frontend.Query(sql.encode()))
        return await _until_ready(wire, CopyDone())
    wire.send(
        Parse(b"", sql.encode()), Describe(STATEMENT, b""), Bind(b"", b""), Describe(PORTAL, b""), Execute(b""), Sync()
    )
    return await _until_ready(wire, CopyDone(), Sync())


async def _until_ready(wire: Wire, *no_data: Any) -> list[Any]:
    """COPY FROM STDIN gets nothing but its end."""
    found: list[Any] = []
    while not (found and isinstance(found[-1], backend.ReadyForQuery)):
        found.append(await wire.next())
        if isinstance(found[-1], backend.Copy) and found[-1].kind == backend.COPY_IN:
            wire.send(*no_data)
    return found


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 300
    assert len(set(CORPUS)) >= 280


async def test_the_same_bytes_come_back(both: tuple[Wire, Wire]) -> None:
    past_it, through_it = both
    differing = [told for sql in CORPUS if (told := await difference(sql, past_it, through_it, extended=False))]
    assert not differing, f"{len(differing)} differ:\n" + "\n".join(differing)


async def test_the_same_bytes_come_back_by_the_extended_query(gateway: Gateway, both: tuple[Wire, Wire]) -> None:
    """DDL is made past the gateway here: reading the catalog anew after each would be most of the time."""
    past_it, through_it = both
    differing = []
    async with past(gateway) as aside:
        for sql in CORPUS:
            if ";" in sql.rstrip(";") or "STDIN" in sql or "scratch" in sql:
                continue
            if sql.startswith(_DDL):
                await aside.query(sql)
                await past_it.query(sql)
            elif told := await difference(sql, past_it, through_it, extended=True):
                differing.append(told)
    assert not differing, f"{len(differing)} differ:\n" + "\n".join(differing)


async def difference(sql: str, past_it: Wire, through_it: Wire, *, extended: bool) -> str:
    """What differs, or nothing."""
    expected = normal(await run(past_it, sql, extended))
    found = normal(await run(through_it, sql, extended))
    return "" if expected == found else f"{sql[:200]}\n  past    {expected}\n  through {found}"[:3000]
