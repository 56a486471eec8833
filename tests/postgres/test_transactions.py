"""A denied statement in an open transaction behaves as a failed one does in PostgreSQL."""

import psycopg
import pytest
from psycopg import pq

from tests.postgres.gateway import Gateway
from tests.postgres.wire import errors, rows, through

RULES = """
rules:
  - {name: most, when: 'action != "sql.delete" && action != "sql.unknown"', allow: true}
  - {name: no-deletes, when: 'action == "sql.delete"', deny: "nothing is deleted here"}
"""


async def booted(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    gateway.server.execute("CREATE TABLE t (n int); ALTER TABLE t OWNER TO svc_scram", gateway.database)


@pytest.mark.parametrize("extended", [False, True])
async def test_denied_it_fails_the_transaction(gateway: Gateway, extended: bool) -> None:
    await booted(gateway)
    values = [1] if extended else None
    async with gateway.connect() as connection:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DELETE FROM t WHERE n = %s" if extended else "DELETE FROM t", values)
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await connection.execute("SELECT 1")
        await connection.execute("COMMIT")  # which rolls back, as PostgreSQL does
        assert await (await connection.execute("SELECT count(*) FROM t")).fetchone() == (0,)


async def test_a_savepoint_saves_what_came_before_it(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            await connection.execute("SAVEPOINT before")
            await connection.execute("INSERT INTO t VALUES (2)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("DELETE FROM t")
            await connection.execute("ROLLBACK TO before")
            await connection.execute("INSERT INTO t VALUES (3)")
        assert await (await connection.execute("SELECT array_agg(n ORDER BY n) FROM t")).fetchone() == ([1, 3],)


async def test_the_servers_error_in_its_place_is_not_shown(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        await wire.query("BEGIN")
        told = await wire.query("DELETE FROM t")
        assert errors(told) == [("42501", "nothing is deleted here")]
        assert told[-1].status == b"E"
        assert errors(await wire.query("DELETE FROM t"))[0][0] == "42501"
        assert (await wire.query("ROLLBACK"))[-1].status == b"I"
        assert rows(await wire.query("SELECT 1")) == [(b"1",)]


async def test_cursors_live_and_end_with_their_transaction(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        await connection.execute("BEGIN")
        await connection.execute("DECLARE c CURSOR FOR SELECT generate_series(1, 5)")
        assert await (await connection.execute("FETCH 2 FROM c")).fetchall() == [(1,), (2,)]
        await connection.execute("SAVEPOINT s")
        await connection.execute("DECLARE d CURSOR FOR SELECT 1")
        await connection.execute("ROLLBACK TO s")
        assert await (await connection.execute("FETCH 1 FROM c")).fetchall() == [(3,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # nobody knows what d would be
            await connection.execute("FETCH 1 FROM d")
        await connection.execute("ROLLBACK")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("FETCH 1 FROM c")


async def test_a_held_cursor_outlives_its_transaction(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        await connection.execute("BEGIN")
        await connection.execute("DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 5)")
        await connection.execute("COMMIT")
        assert await (await connection.execute("FETCH 2 FROM c")).fetchall() == [(1,), (2,)]
        await connection.execute("CLOSE c")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("FETCH 1 FROM c")
