"""psycopg as people use it, through the gateway: sync and async, pipelines, COPY, cursors, LISTEN, TLS."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.conftest import until
from tests.postgres.gateway import Gateway

T = TypeVar("T")

TABLE = """
CREATE TABLE customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE NOT NULL, name text, balance numeric(12, 2),
    born date, seen timestamptz, key uuid, details jsonb, tags text[], picture bytea
)
"""
ROW = {
    "email": "ada@example.com",
    "name": "Ada – Ünïcode",
    "balance": Decimal("1234.50"),
    "born": date(1815, 12, 10),
    "seen": datetime(2026, 11, 21, 8, 0, tzinfo=UTC),
    "key": UUID("01a1fce0-8d6e-7083-93ac-d7071d85833e"),
    "details": {"likes": ["engines"], "n": 1},
    "tags": ["a", None, "c,d"],
    "picture": bytes(range(256)),
}
INSERT = """
INSERT INTO customers (email, name, balance, born, seen, key, details, tags, picture)
VALUES (%(email)s, %(name)s, %(balance)s, %(born)s, %(seen)s, %(key)s, %(details)s, %(tags)s, %(picture)s) RETURNING id
"""
TLS = pytest.mark.parametrize("sslmode", ["disable", "require"])


async def on_a_thread(work: Callable[[], T]) -> T:
    """Blocking drivers, while the gateway runs in this loop."""
    return await asyncio.to_thread(work)


async def boot(gateway: Gateway, sslmode: str = "disable") -> dict[str, Any]:
    """A gateway, and what psycopg needs to connect."""
    await gateway.boot(**({"listen": {"tls": "auto"}} if sslmode == "require" else {}))
    return gateway.options(sslmode=sslmode)


@TLS
@pytest.mark.parametrize("binary", [False, True])
async def test_every_type_comes_back_as_it_went(gateway: Gateway, sslmode: str, binary: bool) -> None:
    options = await boot(gateway, sslmode)

    def work() -> Any:
        with psycopg.connect(**options, row_factory=dict_row) as connection:
            connection.execute(TABLE)
            connection.execute(INSERT, ROW | {"details": Jsonb(ROW["details"])})
            with connection.cursor(binary=binary) as cursor:
                return cursor.execute("SELECT * FROM customers WHERE email = %s", ("ada@example.com",)).fetchone()

    found = await on_a_thread(work)
    assert {name: found[name] for name in ROW} == ROW


async def test_transactions_savepoints_and_errors(gateway: Gateway) -> None:
    options = await boot(gateway)

    def work() -> list[Any]:
        with psycopg.connect(**options) as connection:
            connection.execute("CREATE TABLE t (n int PRIMARY KEY)")
            connection.commit()
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
                    connection.execute("INSERT INTO t VALUES (1)")
                connection.execute("INSERT INTO t VALUES (2)")
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1/0")
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("SELECT 1")
            connection.rollback()
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (3)")
                raise psycopg.Rollback
            return connection.execute("SELECT n FROM t ORDER BY n").fetchall()

    assert await on_a_thread(work) == [(1,), (2,)]


async def test_prepared_statements(gateway: Gateway) -> None:
    options = await boot(gateway)

    def work() -> list[Any]:
        with psycopg.connect(**options, prepare_threshold=0) as connection:
            return [
                connection.execute("SELECT %s::int * 2", (number,), prepare=True).fetchone() for number in range(20)
            ]

    assert await on_a_thread(work) == [(number * 2,) for number in range(20)]


async def test_many_rows_and_named_cursors(gateway: Gateway) -> None:
    options = await boot(gateway)

    def work() -> tuple[int, int]:
        with psycopg.connect(**options) as connection:
            with connection.cursor() as cursor:
                cursor.executemany("SELECT %s::int", [(number,) for number in range(50)], returning=True)
                results = 1
                while cursor.nextset():
                    results += 1
            with connection.cursor("named") as server_side:
                server_side.itersize = 300
                server_side.execute("SELECT n, repeat('x', 50) FROM generate_series(1, 5000) n")
                total = sum(row[0] for row in server_side)
            return results, total

    assert await on_a_thread(work) == (50, 12502500)


async def test_streaming_a_result(gateway: Gateway) -> None:
    await boot(gateway)
    async with gateway.connect() as connection, connection.cursor() as cursor:
        total = 0
        async for (number,) in cursor.stream("SELECT n FROM generate_series(1, 500) n"):
            total += number
    assert total == 125250


@TLS
async def test_pipelines(gateway: Gateway, sslmode: str) -> None:
    await boot(gateway, sslmode)
    async with gateway.connect(sslmode=sslmode) as connection:
        await connection.execute("CREATE TABLE t (n int PRIMARY KEY)")
        async with connection.pipeline() as pipeline:
            for number in range(50):
                await connection.execute("INSERT INTO t VALUES (%s)", (number,))
            cursor = await connection.execute("SELECT count(*) FROM t")
            await pipeline.sync()
            assert await cursor.fetchone() == (50,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await one_pipeline(connection, *(f"INSERT INTO t VALUES ({number})" for number in (50, 50, 51)))
        assert await (await connection.execute("SELECT count(*) FROM t")).fetchone() == (50,)


async def one_pipeline(connection: psycopg.AsyncConnection[Any], *statements: str) -> None:
    async with connection.pipeline():
        for statement in statements:
            await connection.execute(statement)  # type: ignore[call-overload]


@TLS
async def test_copy_in_and_out(gateway: Gateway, sslmode: str) -> None:
    await boot(gateway, sslmode)
    async with gateway.connect(sslmode=sslmode) as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (n int, words text)")
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(3000):
                await copy.write_row((number, f"line\t{number}\n"))
        async with cursor.copy("COPY t TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            found = [row async for row in copy.rows()]
        async with cursor.copy("COPY (SELECT 1) TO STDOUT (FORMAT binary)") as copy:
            raw = b"".join([bytes(piece) async for piece in copy])
        with pytest.raises(psycopg.errors.BadCopyFileFormat):
            async with cursor.copy("COPY t FROM STDIN") as copy:
                await copy.write(b"1\n")
    assert found == [(number, f"line\t{number}\n") for number in range(3000)]
    assert raw.startswith(b"PGCOPY\n\xff\r\n\0")


async def test_notices_and_notifications(gateway: Gateway) -> None:
    await boot(gateway)
    said: list[str] = []
    async with gateway.connect() as listening, gateway.connect() as speaking:
        listening.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        await listening.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 7; END $$")
        await listening.execute("LISTEN news")
        await speaking.execute("SELECT pg_notify('news', 'it works')")
        async for notification in listening.notifies(timeout=30, stop_after=1):
            assert (notification.channel, notification.payload) == ("news", "it works")
            said.append(notification.payload)
    assert said == ["hello 7", "it works"]


async def test_cancelling(gateway: Gateway) -> None:
    await boot(gateway)
    async with gateway.connect() as connection:
        working = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"
        await until(lambda: gateway.server.execute(sleeping))
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await working
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_several_results_of_one_string(gateway: Gateway) -> None:
    await boot(gateway)
    async with gateway.connect() as connection:
        cursor = await connection.execute("SELECT 1; SELECT 2, 3; /* nothing */ ; SELECT 4")
        found = [await cursor.fetchall()]
        while cursor.nextset():
            found.append(await cursor.fetchall())
    assert found == [[(1,)], [(2, 3)], [(4,)]]


async def test_a_megabyte_in_one_value(gateway: Gateway) -> None:
    await boot(gateway)
    value = "ä" * 600_000
    async with gateway.connect() as connection:
        cursor = await connection.execute("SELECT %s::text, repeat('x', 3000000)", (value,))
        row = await cursor.fetchone()
        assert row is not None
        assert (row[0] == value, len(row[1])) == (True, 3_000_000)


async def test_many_connections_at_once(gateway: Gateway) -> None:
    await boot(gateway)

    async def one(number: int) -> Any:
        async with gateway.connect() as connection:
            return await (await connection.execute("SELECT %s::int", (number,))).fetchone()

    assert await asyncio.gather(*map(one, range(12))) == [(number,) for number in range(12)]
