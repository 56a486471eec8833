"""Parse, Bind, Describe, Execute: pipelines, portals, names, and what the server gets to see of what is refused."""

import psycopg
import pytest

from services.ingress.protocols.postgres import names
from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.frontend import (
    PORTAL,
    STATEMENT,
    Bind,
    Close,
    Describe,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
)  # fmt: skip
from tests.postgres.gateway import Gateway
from tests.postgres.wire import errors, kinds, rows, through

RULES = """
rules:
  - name: reads
    when: 'action in ["sql.select", "sql.prepare", "sql.transaction", "sql.set", "sql.insert", "sql.create"]'
    allow: true
  - {name: not-that, when: 'operation.statement.contains("forbidden")', deny: "not that"}
  - {name: no-deletes, when: 'action == "sql.delete"', deny: "nothing is deleted here"}
"""


def one(sql: str, *values: bytes, statement: bytes = b"", portal: bytes = b"", limit: int = 0) -> bytes:
    """Parse, Bind, Describe, Execute without a Sync."""
    return b"".join(
        each.encode()
        for each in (
            Parse(statement, sql.encode()),
            Bind(portal, statement, parameters=values),
            Describe(PORTAL, portal),
            Execute(portal, limit),
        )
    )


async def test_a_pipeline_is_one_operation_for_each_statement(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(one("SELECT $1::int", b"1"), one("SELECT $1::text", b"two"), Sync())
        told = await wire.until_ready()
    assert kinds(told) == "12TDC12TDCZ"
    assert rows(told) == [(b"1",), (b"two",)]
    assert [attempt.operation.action for attempt in gateway.attempts] == ["sql.select"] * 2
    assert [outcome["rows"] for outcome in await gateway.outcomes(2)] == [1, 1]


async def test_a_refusal_in_a_pipeline_rolls_it_back_as_an_error_does(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    gateway.server.execute("CREATE TABLE t (n int); ALTER TABLE t OWNER TO svc_scram", gateway.database)
    async with through(gateway) as wire:
        wire.send(one("INSERT INTO t VALUES (1)"), one("DELETE FROM t WHERE n = 4712"), one("SELECT 4711"), Sync())
        told = await wire.until_ready()
        assert [state for state, _ in errors(told)] == ["42501"]
        assert kinds(told).endswith("EZ")
        assert rows(await wire.query("SELECT count(*) FROM t")) == [(b"0",)]
    assert "SELECT 4711" not in gateway.server.log
    assert "DELETE FROM t WHERE n = 4712" not in gateway.server.log
    assert [attempt.operation.action for attempt in gateway.attempts] == ["sql.insert", "sql.delete", "sql.select"]


async def test_an_error_of_the_server_skips_to_sync_and_nothing_behind_it_is_run(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(one("SELECT 1/0"), one("SELECT 2"), Sync(), one("SELECT 3"), Sync())
        first, second = await wire.until_ready(), await wire.until_ready()
    assert [state for state, _ in errors(first)] == ["22012"]
    assert rows(second) == [(b"3",)]
    outcomes = {event["operation_id"]: event for event in await gateway.outcomes(len(gateway.attempts))}
    told = [outcomes[attempt.operation_id] for attempt in gateway.attempts]
    assert (told[0]["outcome"], told[0]["status"]) == ("forwarded", "22012")
    assert told[-1]["status"] == "00000"
    assert all(event["outcome"] == "failed" for event in told[1:-1])


async def test_a_portal_with_a_row_limit_is_one_operation(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(Query(b"BEGIN"))
        await wire.until_ready()
        wire.send(one("SELECT generate_series(1, 5)", portal=b"p", limit=2), Sync())
        assert kinds(await wire.until_ready()) == "12TDDsZ"
        wire.send(Execute(b"p", 2), Sync())
        assert kinds(await wire.until_ready()) == "DDsZ"
        wire.send(Execute(b"p", 0), Sync())
        assert kinds(await wire.until_ready()) == "DCZ"
    selects = [attempt for attempt in gateway.attempts if attempt.operation.action == "sql.select"]
    assert len(selects) == 1
    outcomes = await gateway.outcomes(2)
    assert next(event["rows"] for event in outcomes if event["operation_id"] == selects[0].operation_id) == 5


async def test_a_portal_that_is_left_ends_with_its_transaction(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(one("SELECT generate_series(1, 5)", limit=2), Sync())
        await wire.until_ready()
        [outcome] = await gateway.outcomes()
        assert (outcome["outcome"], outcome["rows"]) == ("forwarded", 2)
        wire.send(Parse(b"", b"SELECT 4711"), Bind(b"", b""), Sync())
        await wire.until_ready()
        outcome = (await gateway.outcomes(2))[1]
        assert outcome["outcome"] == "withdrawn"


async def test_a_statement_prepared_alone_is_judged_by_its_text(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    async with through(gateway) as wire:
        wire.send(Parse(b"s", b"DELETE FROM pg_class"), Describe(STATEMENT, b"s"), Sync())
        assert errors(await wire.until_ready()) == [("42501", "nothing is deleted here")]
        wire.send(Parse(b"s", b"SELECT $1::int"), Describe(STATEMENT, b"s"), Sync())
        assert kinds(await wire.until_ready()) == "1tTZ"
        wire.send(Bind(b"", b"s", parameters=(b"7",)), Execute(b""), Sync())
        assert rows(await wire.until_ready()) == [(b"7",)]
    assert "DELETE FROM pg_class" not in gateway.server.log
    prepared = [attempt.operation.attributes.get("prepare") for attempt in gateway.attempts]
    assert prepared == [True, True, None]
    assert len(await gateway.outcomes(3)) == 3


async def test_a_name_is_never_executed_with_another_text(gateway: Gateway) -> None:
    """Preparing fails because the name is taken: what is bound to it behind that must not run the old text."""
    await gateway.boot(RULES)
    async with through(gateway) as wire:
        wire.send(Parse(b"s", b"SELECT 'old'"), Sync(), Parse(b"s", b"SELECT 'new'"), Sync())
        await wire.until_ready()
        assert [state for state, _ in errors(await wire.until_ready())] == ["42P05"]
        wire.send(Bind(b"", b"s"), Execute(b""), Sync())
        assert rows(await wire.until_ready()) == [(b"old",)]
        assert "old" in gateway.attempts[-1].operation.statement
        wire.send(Close(STATEMENT, b"s"), Parse(b"s", b"SELECT 'new'"), Bind(b"", b"s"), Execute(b""), Sync())
        assert rows(await wire.until_ready()) == [(b"new",)]
        assert "new" in gateway.attempts[-1].operation.statement


async def test_sql_and_protocol_share_names(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    async with through(gateway) as wire:
        await wire.query("PREPARE q AS SELECT 'by sql'")
        wire.send(Bind(b"", b"q"), Execute(b""), Sync())
        assert rows(await wire.until_ready()) == [(b"by sql",)]
        wire.send(Parse(b"p", b"SELECT 'by protocol'"), Sync())
        await wire.until_ready()
        assert rows(await wire.query("EXECUTE p")) == [(b"by protocol",)]
        assert gateway.attempts[-1].operation.action == "sql.select"
        assert "SELECT 'by protocol'" in gateway.attempts[-1].operation.statement
        await wire.query("DEALLOCATE ALL")
        wire.send(Bind(b"", b"q"), Execute(b""), Sync())
        assert [state for state, _ in errors(await wire.until_ready())] == ["26000"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_name_is_never_another_ones_at_the_server(gateway: Gateway, encoding: str) -> None:
    """Which names are the same depends on the database's encoding: names that may be are refused."""
    other = f"{gateway.database}_x"
    gateway.server.execute(f"CREATE DATABASE {other} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        await gateway.boot(upstream={"database": other})
        for longer, shorter in (("é" * 50, "é" * 40), ("é" * 32, "é" * 31), ("É", "é")):
            async with through(gateway, client_encoding="UTF8") as wire:
                await wire.query(f'PREPARE "{longer}" AS SELECT 1')
                await wire.query(f'PREPARE "{shorter}" AS SELECT 2')
                for asked in (
                    (Query(f'EXECUTE "{longer}"'.encode()),),
                    (Bind(b"", longer.encode()), Execute(b""), Sync()),
                ):
                    wire.send(*asked)
                    told = await wire.until_ready()
                    assert [state for state, _ in errors(told)] == ["0A000"]
                    assert rows(told) == []
    finally:
        await gateway.stop("ingress")
        gateway.server.execute(f"DROP DATABASE {other} WITH (FORCE)")


async def test_fetch_is_masked_by_what_its_cursor_is_now(gateway: Gateway) -> None:
    """The columns of a prepared FETCH are those of whatever cursor has the name when it runs."""
    await gateway.boot("rules: [{name: all, when: 'true', allow: true, mask: {response: [financial]}}]")
    async with through(gateway) as wire:
        await wire.query("BEGIN; DECLARE c CURSOR FOR SELECT gen_random_uuid()")
        wire.send(Parse(b"p", b"FETCH ALL FROM c"), Describe(STATEMENT, b"p"), Sync())
        await wire.until_ready()
        await wire.query("CLOSE c; DECLARE c CURSOR FOR SELECT '4111111111111111'::text")
        wire.send(Bind(b"", b"p", results=(1,)), Execute(b""), Sync())
        assert rows(await wire.until_ready()) == [(b"[CREDIT_CARD]",)]


async def test_names_of_every_kind_are_counted(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_NAMES", 20)
    await gateway.boot()
    async with through(gateway) as wire:
        for made in (
            lambda at: one("SELECT 1", portal=b"p%d" % at),
            lambda at: one(f"PREPARE q{at} AS SELECT 1"),
            lambda at: one(f"DECLARE c{at} CURSOR FOR SELECT 1"),
            lambda at: one(f"SAVEPOINT s{at}"),
        ):
            await wire.query("BEGIN")
            told = []
            for at in range(30):
                wire.send(made(at), Sync())
                if told := errors(await wire.until_ready()):
                    break
            assert [state for state, _ in told] == ["54000"]
            assert at >= 15
            await wire.query("ROLLBACK; DEALLOCATE ALL")
        await wire.query("BEGIN")
        for _ in range(30):
            assert errors(await wire.query("SAVEPOINT s; RELEASE s")) == []


async def test_names_that_nobody_knows_are_refused(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        for asked, state in (
            ((Bind(b"", b"nobody"), Execute(b"")), "26000"),
            ((Execute(b"nobody"),), "34000"),
            ((Describe(STATEMENT, b"nobody"),), "26000"),
            ((Describe(PORTAL, b"nobody"),), "34000"),
        ):
            wire.send(*asked, Sync())
            assert [found for found, _ in errors(await wire.until_ready())] == [state]


async def test_flush_answers_before_sync(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(Parse(b"", b"SELECT 1"), Describe(STATEMENT, b""), Flush())
        assert kinds([await wire.next() for _ in range(3)]) == "1tT"
        wire.send(Bind(b"", b""), Execute(b""), Flush())
        assert kinds([await wire.next() for _ in range(3)]) == "2DC"
        wire.send(Sync())
        assert kinds(await wire.until_ready()) == "Z"


async def test_an_empty_statement_needs_no_verdict(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(one("-- nothing\n"), Sync())
        assert kinds(await wire.until_ready()) == "12nIZ"
    assert gateway.attempts == []


async def test_settings_in_flight_cannot_change_how_a_text_is_read(gateway: Gateway) -> None:
    await gateway.boot()
    async with through(gateway) as wire:
        wire.send(one("SET standard_conforming_strings = off"), one(r"SELECT 'a\'; DROP TABLE t; --'"), Sync())
        assert [state for state, _ in errors(await wire.until_ready())] == ["0A000"]
        wire.send(one("SET client_encoding = 'SJIS'"), one("SELECT 'é'"), Sync())
        assert [state for state, _ in errors(await wire.until_ready())] == ["0A000"]


async def test_the_fast_path_needs_a_rule_of_its_own(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    call = frontend.FunctionCall(1242, (), (), 0)  # booleq would take arguments; the verdict comes first
    async with through(gateway) as wire:
        wire.send(call)
        assert [state for state, _ in errors(await wire.until_ready())] == ["42501"]
    assert gateway.attempts[0].operation.action == "sql.fastpath"


async def test_psycopg_may_prepare_what_it_was_allowed_to_run(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        connection.prepare_threshold = 2
        for number in range(6):
            cursor = await connection.execute("SELECT %s::int + 1", [number])
            assert await cursor.fetchone() == (number + 1,)
        assert isinstance(connection, psycopg.AsyncConnection)
    assert len(gateway.attempts) == 6
