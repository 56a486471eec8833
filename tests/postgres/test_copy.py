"""COPY in both directions: judged, masked, recorded, and its protocol kept."""

import psycopg
import pytest

from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.frontend import Bind, CopyData, CopyDone, CopyFail, Execute, Parse, Sync
from tests.postgres.gateway import Gateway
from tests.postgres.wire import errors, kinds, rows, through

MASKED = """
rules:
  - {name: all, when: 'true', allow: true, mask: {response: [pii]}}
"""
MASKED_IN = """
rules:
  - {name: all, when: 'true', allow: true, mask: {request: [pii]}}
"""


async def booted(gateway: Gateway, policy: str = "rules: [{name: all, when: 'true', allow: true}]") -> None:
    await gateway.boot(policy)
    gateway.server.execute("CREATE TABLE t (n int, word text); ALTER TABLE t OWNER TO svc_scram", gateway.database)


async def test_there_and_back(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection, connection.cursor() as cursor:
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(2000):
                await copy.write_row((number, f"word {number}"))
        async with cursor.copy("COPY (SELECT * FROM t ORDER BY n) TO STDOUT") as copy:
            found = [row async for row in copy.rows()]
    assert len(found) == 2000
    assert found[1999] == ("1999", "word 1999")
    came, went = await gateway.outcomes(2)
    assert (came["rows"], went["rows"]) == (2000, 2000)
    assert came["request_bytes"] > 20_000
    assert {attempt.operation.action for attempt in gateway.attempts} == {"sql.copy"}


async def test_what_goes_out_is_masked(gateway: Gateway) -> None:
    await booted(gateway, MASKED)
    gateway.server.execute("INSERT INTO t VALUES (1, 'ada@example.com'), (2, 'nobody')", gateway.database)
    async with gateway.connect() as connection, connection.cursor().copy("COPY t TO STDOUT (FORMAT csv)") as copy:
        data = b"".join([bytes(part) async for part in copy])
    assert data == b"1,[EMAIL]\n2,nobody\n"
    assert b"ada@example.com" not in b"".join(gateway.raw)


async def test_what_comes_in_is_masked(gateway: Gateway) -> None:
    await booted(gateway, MASKED_IN)
    async with gateway.connect() as connection, connection.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write("1\tada@exam")
        await copy.write("ple.com\n2\tnobody\n")
    assert gateway.server.execute("SELECT word FROM t ORDER BY n", gateway.database) == [("[EMAIL]",), ("nobody",)]
    assert (await gateway.outcomes())[0]["masked"] == {"request.EMAIL": 1}


async def test_a_value_in_a_statement_cannot_be_masked_on_its_way_in(gateway: Gateway) -> None:
    await booted(gateway, MASKED_IN)
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="EMAIL"):
            await connection.execute("INSERT INTO t VALUES (1, 'ada@example.com')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="EMAIL"):
            await connection.execute("INSERT INTO t VALUES (1, %s)", ["ada@example.com"])
        await connection.execute("INSERT INTO t VALUES (1, 'nobody')")
    assert gateway.server.execute("SELECT count(*) FROM t", gateway.database) == [(1,)]


async def test_the_agent_gives_up(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(frontend.Query(b"COPY t FROM STDIN"))
        assert kinds([await wire.next()]) == "G"
        wire.send(CopyData(b"1\tone\n"), CopyFail(b"no more"))
        assert [state for state, _ in errors(await wire.until_ready())] == ["57014"]
        assert rows(await wire.query("SELECT count(*) FROM t")) == [(b"0",)]


async def test_the_server_refuses_the_data(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(frontend.Query(b"COPY t FROM STDIN"))
        assert kinds([await wire.next()]) == "G"
        wire.send(CopyData(b"not a number\tone\n"), CopyData(b"2\ttwo\n"), CopyDone())
        assert [state for state, _ in errors(await wire.until_ready())] == ["22P02"]
        assert rows(await wire.query("SELECT 1")) == [(b"1",)]
    assert (await gateway.outcomes(2))[0]["status"] == "22P02"


async def test_the_extended_query_copies_too(gateway: Gateway) -> None:
    """libpq sends a Sync at once, which the server reads as part of the COPY, and another behind CopyDone."""
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(Parse(b"", b"COPY t FROM STDIN"), Bind(b"", b""), Execute(b""), Sync())
        assert kinds([await wire.next() for _ in range(3)]) == "12G"
        wire.send(CopyData(b"1\tone\n"), CopyDone(), Sync())
        assert kinds(await wire.until_ready()) == "CZ"
        wire.send(Parse(b"", b"COPY t TO STDOUT"), Bind(b"", b""), Execute(b""), Sync())
        assert kinds(await wire.until_ready()) == "12HdcCZ"
        assert rows(await wire.query("SELECT count(*) FROM t")) == [(b"1",)]


async def test_data_that_nobody_wants_are_dropped(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(CopyData(b"1\tone\n"), CopyDone(), frontend.Query(b"SELECT 1"))
        assert kinds(await wire.until_ready()) == "TDCZ"


async def test_data_whose_fields_cannot_be_told_apart_are_not_passed(gateway: Gateway) -> None:
    await booted(gateway, MASKED)
    gateway.server.execute("INSERT INTO t VALUES (1, 'ada@example.com')", gateway.database)
    for before, copy in (
        ("SELECT 1", "COPY t TO STDOUT (ENCODING 'SJIS')"),
        ("SET client_encoding = 'SJIS'", "COPY t TO STDOUT"),
        ("SELECT 1", "SET client_encoding = 'SJIS'; COPY t TO STDOUT"),
    ):
        async with through(gateway) as wire:
            await wire.query(before)
            wire.send(frontend.Query(copy.encode()))
            assert errors([await wire.next()])[0][0] == "42501"
