"""The query cycle on a real PostgreSQL: what runs, what is refused, and what the record tells."""

import asyncio
import weakref

import psycopg
import pytest
from psycopg import pq

from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import parse
from services.ingress.protocols.postgres import catalogs as catalogs_of_ingress
from services.ingress.protocols.postgres import side
from tests.conftest import until
from tests.postgres.gateway import CONNECTOR, Gateway

RULES = """
rules:
  - name: reads
    when: action in ["sql.select", "sql.show", "sql.transaction", "sql.set", "sql.prepare"]
    allow: true
  - {name: no-deletes, when: 'action == "sql.delete"', deny: "nothing is deleted here"}
"""


async def test_a_statement_runs_and_is_recorded_once(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        rows = await (await connection.execute("SELECT n, 'a' || n FROM generate_series(1, 3) AS n")).fetchall()
    assert rows == [(1, "a1"), (2, "a2"), (3, "a3")]
    [attempt] = gateway.attempts
    assert attempt.operation.action == "sql.select"
    assert attempt.identity.subject == "agent-7"
    [outcome] = await gateway.outcomes()
    assert outcome["operation_id"] == attempt.operation_id
    assert (outcome["outcome"], outcome["status"], outcome["rows"]) == ("forwarded", "00000", 3)
    assert outcome["response_bytes"] > 0
    [frame] = [event for event in gateway.events("SessionFrame") if event["direction"] == "response"]
    assert frame["media_type"] == "application/x-ndjson"
    assert frame["data"].splitlines()[1] == '["1","a1"]'


async def test_values_are_judged_with_the_statement(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        first = await (await connection.execute("SELECT %s::text", ["one"])).fetchone()
        second = await (await connection.execute("SELECT %s::text", ["two"])).fetchone()
    assert (first, second) == (("one",), ("two",))
    one, two = (attempt.operation for attempt in gateway.attempts)
    assert one.digest != two.digest
    assert "one" in one.statement


async def test_a_denial_is_an_error_and_the_session_goes_on(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    gateway.server.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)", gateway.database)
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nothing is deleted here") as caught:
            await connection.execute("DELETE FROM kept")
        detail = caught.value.diag.message_detail or ""
        assert "no-deletes" in detail
        assert gateway.attempts[0].operation_id in detail
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
        assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    outcomes = {outcome["operation_id"]: outcome for outcome in await gateway.outcomes(2)}
    assert outcomes[gateway.attempts[0].operation_id]["outcome"] == "denied"
    assert gateway.server.execute("SELECT count(*) FROM kept", gateway.database) == [(1,)]
    assert "DELETE FROM kept" not in gateway.server.log


async def test_nothing_of_a_string_runs_when_one_statement_is_denied(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    gateway.server.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)", gateway.database)
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT 4711; DELETE FROM kept; SELECT 2")
    assert "SELECT 4711" not in gateway.server.log
    first, second = await gateway.outcomes(2)
    assert {first["outcome"], second["outcome"]} == {"failed", "denied"}


async def test_an_empty_query_reaches_nobody(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        for text in ("", ";", "-- only words", "/* more */ ;"):
            result = await asyncio.to_thread(connection.pgconn.exec_, text.encode())
            assert result.status == pq.ExecStatus.EMPTY_QUERY
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    assert len(gateway.attempts) == 1


async def test_silence_from_policy_denies(gateway: Gateway) -> None:
    await gateway.boot(services=("ingress",), limits={"verdict_timeout": "300ms"})
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.SystemError, match="verdict"):
            await connection.execute("SELECT 4711")
        assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert "SELECT 4711" not in gateway.server.log
    [outcome] = await gateway.outcomes()
    assert outcome["outcome"] == "denied"


async def test_a_session_is_opened_and_closed(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        await connection.execute("SELECT 1")
    await until(lambda: gateway.events("SessionClosed"))
    [closed] = gateway.events("SessionClosed")
    assert (closed["protocol"], closed["operations"]) == ("postgres", 1)


async def test_a_catalog_that_was_read_before_a_change_is_not_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogs_of_ingress, "READ_TIMEOUT", 60)
    monkeypatch.setattr(side, "MOST", 60)
    await gateway.boot()
    catalogs, target = gateway.ingress.parts.catalogs, gateway.ingress.postgres.targets[CONNECTOR]
    async with await gateway.direct() as locking:
        await locking.execute("BEGIN")
        await locking.execute("LOCK TABLE pg_attrdef IN ACCESS EXCLUSIVE MODE")  # read after pg_class
        reading = asyncio.ensure_future(catalogs.of(target))
        await until(lambda: gateway.server.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))
        gateway.server.execute("CREATE TABLE later ()", gateway.database)
        catalogs.changed(target)
        await locking.execute("COMMIT")
    read = await reading
    assert read.relations("", "later") == ()
    [statement] = parse("SELECT * FROM later")
    resolve(statement, read.within(("public",)))
    former = weakref.ref(read)
    del read, reading
    assert (await catalogs.of(target)).relations("", "later") != ()
    assert former() is None, "what was told by a catalog does not keep it"


async def test_the_catalog_is_read_again_when_it_has_changed_only(gateway: Gateway) -> None:
    """By one connection beside the sessions', and by another one when that is gone."""
    await gateway.boot("rules: [{name: all, when: 'true', allow: true, mask: {columns: [customers.email]}}]")
    beside = f"FROM pg_stat_activity WHERE application_name = 'countersign' AND datname = '{gateway.database}'"
    async with gateway.connect(prepare_threshold=None) as connection, await gateway.direct() as direct:
        await direct.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'")
        await direct.execute("CREATE TABLE customers AS SELECT 'planted' AS email; GRANT ALL ON customers TO PUBLIC")
        await connection.execute("SELECT f()")
        read = gateway.server.log.count("pg_get_viewdef")
        for number in range(3):
            await connection.execute("SELECT f()")
            await connection.execute(f"SELECT {number}".encode())
        assert gateway.server.log.count("pg_get_viewdef") == read
        assert gateway.server.execute(f"SELECT count(*) {beside}") == [(1,)]
        await direct.execute(
            "CREATE VIEW shown AS SELECT email || '' AS it FROM customers; GRANT ALL ON shown TO PUBLIC"
        )
        await connection.execute("SELECT f()")
        gateway.server.execute(f"SELECT pg_terminate_backend(pid) {beside}")
        assert await (await connection.execute("SELECT it FROM shown")).fetchone() == ("[COLUMN]",)
        assert gateway.server.log.count("pg_get_viewdef") > read
