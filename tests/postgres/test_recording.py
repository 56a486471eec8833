"""What the record tells of a session: rows, values, cuts, errors; and how much of it the rule wants."""

import psycopg
import pytest

from tests.conftest import until
from tests.postgres.gateway import Gateway

WANTED = """
rules:
  - {name: whole, when: 'operation.statement.contains("whole")', allow: true}
  - {name: metadata, when: 'operation.statement.contains("metadata")', allow: true, record: metadata}
"""


def frames(gateway: Gateway) -> list[dict[str, object]]:
    return [event for event in gateway.events("SessionFrame") if event["direction"] == "response"]


async def test_rows_are_lines_of_json(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            await cursor.execute(
                "SELECT 7::int AS n, 'ünï' AS word, NULL::text AS no, true AS t, '\\x00ff'::bytea AS b"
            )
            await cursor.fetchall()
    await gateway.outcomes(2)
    text, binary_ = (str(frame["data"]).splitlines() for frame in frames(gateway))
    assert text == ['["n","word","no","t","b"]', '["7","ünï",null,"t","[6 bytes]"]']
    assert binary_[1] == '[7,"ünï",null,true,"[2 bytes]"]'


async def test_the_record_is_masked_whatever_the_rule_says(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        found = await (await connection.execute("SELECT %s || '@example.com'", ["ada.lovelace"])).fetchone()
        assert found == ("ada.lovelace@example.com",)
        await connection.execute("SELECT %s::text", ["bob@example.com"])
    await gateway.outcomes(2)
    record = b"\n".join(gateway.raw)
    assert b"ada.lovelace@example.com" not in record
    assert b"bob@example.com" not in record
    assert b"EMAIL#" in record


async def test_a_large_result_is_cut_and_says_so(gateway: Gateway) -> None:
    await gateway.boot(limits={"inspection_window": 4096})
    async with gateway.connect() as connection:
        cursor = await connection.execute("SELECT repeat('x', 100) FROM generate_series(1, 1000)")
        assert len(await cursor.fetchall()) == 1000
    [outcome] = await gateway.outcomes()
    assert outcome["rows"] == 1000
    [frame] = frames(gateway)
    assert frame["truncated"]
    assert 2000 < len(str(frame["data"])) <= 4096


async def test_a_rule_may_want_less(gateway: Gateway) -> None:
    await gateway.boot(WANTED)
    async with gateway.connect() as connection:
        await connection.execute("SELECT 'whole'")
        await connection.execute("SELECT 'metadata'")
    await gateway.outcomes(2)
    [frame] = frames(gateway)
    assert "whole" in str(frame["data"])


async def test_the_frame_comes_before_the_outcome(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        await connection.execute("SELECT 1")
    await gateway.outcomes()
    await until(lambda: frames(gateway))
    [frame], [outcome] = frames(gateway), await gateway.outcomes()
    assert frame["operation_id"] == outcome["operation_id"]
    assert str(frame["at"]) <= str(outcome["at"])


async def test_errors_are_told_by_their_sqlstate_alone(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await connection.execute("SELECT ('zz-' || 'quoted-value')::int")
    [outcome] = await gateway.outcomes()
    assert (outcome["outcome"], outcome["status"], outcome["error"]) == ("forwarded", "22P02", "")
    assert b"zz-quoted-value" not in b"\n".join(gateway.raw)


async def test_a_session_joins_an_agents_run(gateway: Gateway) -> None:
    await gateway.boot()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    options = f"-c countersign.run=run-7 -c countersign.traceparent={trace}"
    async with gateway.connect(options=options) as connection:
        await connection.execute("SELECT 1")
    [attempt] = gateway.attempts
    assert attempt.asked.run == "run-7"
    assert attempt.traceparent.split("-")[1] == trace.split("-")[1]
