"""Row limits, large rows, column masks, the words beside rows, and what a server does that dies."""

import asyncio
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import pq

from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.frontend import PORTAL, Bind, Describe, Execute, Parse, Sync
from tests.conftest import until
from tests.postgres.gateway import Gateway
from tests.postgres.wire import errors, kinds, rows, through

LIMITED = """
rules:
  - {name: few, when: 'true', allow: true, limit: {rows: 3}}
"""
MASKED = """
rules:
  - {name: all, when: 'true', allow: true, mask: {response: [pii], columns: ["customers.email", "customers.salary"]}}
"""
CUSTOMERS = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, salary int);
INSERT INTO customers VALUES (1, 'Ada', 'ada@corp.example', 1947114711), (2, 'Ben', 'ben at home', 1947114712);
CREATE VIEW people AS SELECT id, email AS contact FROM customers;
ALTER TABLE customers OWNER TO svc_scram;
ALTER VIEW people OWNER TO svc_scram;
"""


def one(sql: str, limit: int = 0) -> bytes:
    asked = (Parse(b"", sql.encode()), Bind(b"", b""), Describe(PORTAL, b""), Execute(b"", limit), Sync())
    return b"".join(each.encode() for each in asked)


@pytest.mark.parametrize("extended", [False, True])
async def test_a_result_ends_at_the_limit_with_a_notice(gateway: Gateway, extended: bool) -> None:
    await gateway.boot(LIMITED)
    sql = "SELECT generate_series(1, 100000)"
    async with through(gateway) as wire:
        wire.send(one(sql) if extended else frontend.Query(sql.encode()))
        told = await wire.until_ready()
        assert len(rows(told)) == 3
        assert kinds(told).endswith("DDDNCZ")
        assert told[-2].tag == b"SELECT 3"
        assert b"ends after 3 rows" in told[-3]["M"]
        exact = await wire.query("SELECT generate_series(1, 3)")
        assert kinds(exact) == "TDDDCZ"
        copied = await wire.query("COPY (SELECT generate_series(1, 9) AS n) TO STDOUT (FORMAT csv, HEADER)")
        assert [one.data for one in copied if isinstance(one, frontend.CopyData)] == [b"n\n", b"1\n", b"2\n", b"3\n"]
        assert copied[-2].tag == b"COPY 3"
    outcomes = await gateway.outcomes(3)
    assert [(outcome["rows"], outcome["status"]) for outcome in outcomes] == [(3, "00000")] * 3


async def test_the_limit_leaves_a_transaction_as_it_is(gateway: Gateway) -> None:
    await gateway.boot(LIMITED)
    async with gateway.connect() as connection:
        await connection.execute("BEGIN")
        cursor = await connection.execute("SELECT generate_series(1, 5000)")
        assert len(await cursor.fetchall()) == 3
        assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
        await connection.execute("CREATE TABLE t AS SELECT generate_series(1, 10) AS n")
        returned = await (await connection.execute("UPDATE t SET n = n + 1 RETURNING n")).fetchall()
        assert len(returned) == 3
        assert (await (await connection.execute("SELECT count(*) FROM t WHERE n > 1")).fetchone()) == (10,)
        await connection.execute("COMMIT")


async def test_a_suspended_portal_cannot_get_round_the_limit(gateway: Gateway) -> None:
    await gateway.boot(LIMITED)
    async with through(gateway) as wire:
        await wire.query("BEGIN")
        wire.send(one("SELECT generate_series(1, 100)", limit=2))
        assert kinds(await wire.until_ready()) == "12TDDsZ"
        wire.send(Execute(b"", 2), Sync())
        told = await wire.until_ready()
        assert len(rows(told)) == 1
        assert kinds(told).endswith("NCZ")
        wire.send(Execute(b"", 0), Sync())
        assert rows(await wire.until_ready()) == []


async def test_large_rows_pass_in_pieces(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        cursor = await connection.execute("SELECT repeat('x', 3000000), 1 UNION ALL SELECT repeat('y', 3000000), 2")
        found = await cursor.fetchall()
    assert [(len(text), number) for text, number in found] == [(3_000_000, 1), (3_000_000, 2)]
    assert (await gateway.outcomes())[0]["response_bytes"] > 6_000_000


async def test_masked_values_appear_nowhere(gateway: Gateway) -> None:
    await gateway.boot(MASKED)
    gateway.server.execute(CUSTOMERS, gateway.database)
    told: list[str] = []
    async with gateway.connect() as connection:
        connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        for sql in (
            "SELECT * FROM customers",
            "SELECT contact FROM people",
            "SELECT upper(email) FROM customers",
            "SELECT row_to_json(c) FROM customers c",
            "WITH x AS (SELECT email e FROM customers) SELECT string_agg(e, ',') FROM x",
            "SELECT salary + 1 FROM customers",
        ):
            for binary in (False, True):  # psycopg asks for binary results by the extended query
                cursor = connection.cursor(binary=binary)
                await cursor.execute(sql)
                told.append(repr(await cursor.fetchall()))
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            await connection.execute("INSERT INTO customers VALUES (3, 'X', 'ben at home', 1)")
        told.append(repr(vars(caught.value.diag)) + str(caught.value))
        await connection.execute("LISTEN news")
        await connection.execute("NOTIFY news, 'write to ada@corp.example'")
        told += [each.payload async for each in connection.notifies(timeout=20, stop_after=1)]
    everything = "\n".join(told).lower()
    record = b"\n".join(gateway.raw).decode().lower()
    for secret in ("ada@corp.example", "1947114711", "1947114712", "1947114713"):
        assert secret not in everything
        assert secret not in record
    assert "ben at home" not in everything
    assert "ada" in everything


async def test_the_servers_death_is_told_and_recorded(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway, application_name="doomed") as wire:
        wire.send(frontend.Query(b"SELECT 1, pg_sleep(600)"))
        await until(lambda: "[doomed] LOG:  statement: SELECT 1, pg_sleep(600)" in gateway.server.log)
        gateway.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed'"
        )
        found: list[Any] = []
        with suppress(EOFError):
            while True:
                found.append(await wire.next())
    assert errors(found)[0][0] == "57P01"
    [outcome] = await gateway.outcomes()
    assert (outcome["outcome"], outcome["status"]) == ("failed", "57P01")


async def test_an_agent_that_leaves_stops_what_it_started(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway, application_name="leaver") as wire:
        wire.send(frontend.Query(b"SELECT 2, pg_sleep(600)"))
        await until(lambda: "[leaver] LOG:  statement: SELECT 2, pg_sleep(600)" in gateway.server.log)
    [outcome] = await gateway.outcomes()
    assert (outcome["outcome"], outcome["error"]) == ("failed", "the agent disconnected")
    await until(lambda: not gateway.server.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'leaver'"))


async def test_an_idle_session_ends_when_the_gateway_goes_down(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        assert kinds(await wire.query("SELECT 1")) == "TDCZ"
        stopping = asyncio.ensure_future(gateway.stop("ingress"))
        assert errors([await wire.next()])[0][0] == "57P01"
        await stopping


async def test_notifications_come_to_an_idle_session(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        await connection.execute("LISTEN news")
        gateway.server.execute("SELECT pg_notify('news', 'hello')", gateway.database)
        async for notification in connection.notifies(timeout=20, stop_after=1):
            assert notification.payload == "hello"


async def test_an_agent_that_does_not_read_makes_the_server_wait(gateway: Gateway) -> None:
    await gateway.boot()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'slow' AND wait_event = 'ClientWrite'"
    async with through(gateway, application_name="slow") as wire:
        wire.send(frontend.Query(b"SELECT repeat('x', 1000) FROM generate_series(1, 60000)"))
        await until(lambda: gateway.server.execute(waiting), 60)
        received = 0
        while kinds([said := await wire.next()]) != "Z":
            received += kinds([said]) == "D"
    assert received == 60_000
