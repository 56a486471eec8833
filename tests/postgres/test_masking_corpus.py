"""The masking corpus through the gateway: the planted value is in no row, no error, no event and no log."""

import logging

import psycopg
import pytest

from tests.postgres.gateway import Gateway
from tests.postgres.wire import rows, through
from tests.postgres_sql.database import PLANTED, SCHEMA
from tests.postgres_sql.masking_corpus import CONVERSATIONS, RULES, reading
from tests.postgres_sql.test_copied import COPYING
from tests.postgres_sql.test_notices import ECHOES

POLICY = f"""rules:
  - name: anything-masked
    when: action != "sql.transaction"
    allow: true
    mask: {{columns: [{", ".join(RULES)}]}}
  - {{name: transactions, when: action == "sql.transaction", allow: true}}
"""
MASKED = [(sql, masked) for sql, masked in reading() if masked]


async def ready(gateway: Gateway) -> None:
    """The corpus's database belongs to the role that the gateway logs in as."""
    await gateway.boot(POLICY)
    async with await gateway.direct() as direct:
        await direct.execute("SET ROLE svc_scram")
        await direct.execute(SCHEMA.encode())


async def shown(connection: psycopg.AsyncConnection[tuple[object, ...]], sql: str, *, binary: bool) -> str:
    """All that the agent reads: rows, or the error with all its fields."""
    try:
        cursor = await connection.cursor(binary=binary).execute(sql.encode())
        return repr(await cursor.fetchall()) if cursor.description else ""
    except psycopg.Error as error:
        fields = (getattr(error.diag, name) for name in dir(error.diag) if not name.startswith("_"))
        return " ".join(field for field in fields if isinstance(field, str))


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_it_comes_out_nowhere(gateway: Gateway, caplog: pytest.LogCaptureFixture, binary: bool) -> None:
    caplog.set_level(logging.DEBUG)
    await ready(gateway)
    tried = [sql for sql in [*(sql for sql, _ in MASKED), *ECHOES, *COPYING] if not sql.startswith("COPY")]
    answered = 0
    async with gateway.connect(prepare_threshold=None) as connection:
        for sql in tried:
            await connection.execute("BEGIN")
            told = await shown(connection, sql, binary=binary)
            assert PLANTED not in told.lower(), sql
            answered += told.startswith("[")
            await connection.execute("ROLLBACK")
        async with connection.cursor().copy("COPY customers TO STDOUT") as copy:
            rows = [bytes(part) async for part in copy]
    assert answered >= len(MASKED), "these answer with rows; what echoes or copies is refused"
    assert len(rows) == 40
    assert all(row.endswith(b"\t\\N\n") for row in rows)
    await gateway.outcomes(3 * len(tried))
    assert PLANTED.encode() not in b"".join(gateway.raw).lower()
    assert PLANTED not in caplog.text.lower()


async def test_it_comes_out_nowhere_in_several_steps(gateway: Gateway) -> None:
    await ready(gateway)
    for steps in CONVERSATIONS:
        async with through(gateway) as wire:
            for sql in steps:
                told = await wire.query(sql)
                assert PLANTED not in repr(told).lower(), sql


#: What only servers built with libxml answer, as distributions' are.
XML = ("SELECT table_to_xml('customers', true, false, '')", "SELECT query_to_xml('TABLE people', true, false, '')")


async def test_it_comes_out_nowhere_on_an_older_server(older_gateway: Gateway) -> None:
    """PostgreSQL as distributions have it: no search path told, no generic plan, libxml. By EXECUTE, in one string."""
    await ready(older_gateway)
    answered = 0
    async with through(older_gateway) as wire:
        for sql in (*(sql for sql, _ in MASKED), *XML, *ECHOES):
            told = await wire.query(f"BEGIN; PREPARE q AS {sql}; EXECUTE q; ROLLBACK; DEALLOCATE ALL")
            assert PLANTED not in repr(told).lower(), sql
            answered += bool(rows(told))
            await wire.query("ROLLBACK; DEALLOCATE ALL")
        for name in ("customers", "people"):
            told = await wire.query(
                f"PREPARE q AS SELECT $1 || ''; EXECUTE q(table_to_xml('{name}', true, false, '')::text); DEALLOCATE q"
            )
            assert PLANTED not in repr(told).lower()
            assert len(rows(told)) == 1
    assert answered >= len(MASKED) - 12, "but for what newer servers understand"


async def test_what_would_copy_it_never_reaches_the_server(gateway: Gateway) -> None:
    await ready(gateway)
    async with gateway.connect() as connection:
        for sql in COPYING:
            with pytest.raises(psycopg.Error) as refused:
                await connection.execute(sql.encode())
            assert refused.value.sqlstate == "42501", sql
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_other_columns_are_as_they_are(gateway: Gateway) -> None:
    await ready(gateway)
    async with gateway.connect() as connection, await gateway.direct() as direct:
        for sql, masked in reading():
            if masked or sql.startswith(("EXPLAIN", "SHOW")):
                continue
            through = await (await connection.execute(sql.encode())).fetchall()
            assert through == await (await direct.execute(sql.encode())).fetchall(), sql
