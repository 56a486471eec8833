"""A statement that needs a person: held on the open connection, previewed, approved, denied, taken back."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from psycopg import pq

from schemas import subjects
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.frontend import Bind, Execute, Parse, Sync
from services.ingress.protocols.postgres.codec.startup import CancelRequest
from tests.conftest import until
from tests.postgres.gateway import Gateway
from tests.postgres.wire import Wire, errors, kinds, through

RULES = """
rules:
  - {name: most, when: '!(action in ["sql.update", "sql.delete", "sql.truncate"])', allow: true}
  - name: changes-need-a-person
    when: action in ["sql.update", "sql.delete"]
    approve: {by: [dba], expires: 10m, grant: 1h, preview: count}
"""
EVERYTHING = ("policy", "approver", "ingress")


async def booted(gateway: Gateway, **settings: Any) -> None:
    await gateway.boot(RULES, services=EVERYTHING, **settings)
    gateway.server.execute(
        "CREATE TABLE t (n int, word text); INSERT INTO t SELECT n, 'w' || n FROM generate_series(1, 10) n;"
        "ALTER TABLE t OWNER TO svc_scram; ANALYZE t",
        gateway.database,
    )


def left(gateway: Gateway) -> int:
    return int(gateway.server.execute("SELECT count(*) FROM t", gateway.database)[0][0])


async def test_approved_it_runs_as_it_was_asked(gateway: Gateway) -> None:
    await booted(gateway)
    told: list[str] = []
    async with gateway.connect() as connection:
        connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        running = asyncio.ensure_future(connection.execute("DELETE FROM t WHERE n > %s", [7]))
        approval = await gateway.approval()
        await until(lambda: told)
        assert "dba" in told[0]
        assert approval in told[0]
        assert left(gateway) == 10
        await gateway.decide("approve", approval)
        assert (await running).rowcount == 3
    assert left(gateway) == 7
    outcome = (await gateway.outcomes())[0]
    assert (outcome["outcome"], outcome["approval_id"], outcome["rows"]) == ("forwarded", approval, 3)
    assert outcome["approved_by"] == ["ada@example.com"]
    used = await gateway.until_event("ApprovalUsed")
    assert (used["outcome"], used["status"], used["rows"]) == ("forwarded", "00000", 3)


async def test_people_see_how_many_rows_it_would_touch(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        running = asyncio.ensure_future(connection.execute("DELETE FROM t WHERE n > %s", [7]))
        previewed = await gateway.until_event("ApprovalPreviewed")
        assert previewed["problem"] == ""
        assert previewed["counted_rows"] == 3
        assert previewed["estimated_rows"] >= 1
        assert left(gateway) == 10
        await gateway.decide("deny", await gateway.approval())
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"denied by ada@example\.com: seen"):
            await running
        assert connection.info.transaction_status == pq.TransactionStatus.IDLE
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    assert left(gateway) == 10


async def test_what_cannot_be_counted_is_said(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        running = asyncio.ensure_future(connection.execute("DELETE FROM t WHERE n > 7 AND missing > 1"))
        previewed = await gateway.until_event("ApprovalPreviewed")
        assert previewed["problem"]
        assert previewed["counted_rows"] is None
        await gateway.decide("approve", await gateway.approval())
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await running


async def cancel(gateway: Gateway, wire: Wire) -> None:
    """CancelRequest on a connection of its own, as libpq does."""
    assert wire.key is not None
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(CancelRequest(wire.key.process_id, wire.key.secret).encode())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_cancelling_takes_the_question_back(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(frontend.Query(b"DELETE FROM t"))
        notice = await wire.next()
        assert isinstance(notice, backend.Report)
        assert notice.kind == backend.NOTICE
        await cancel(gateway, wire)
        told = await wire.until_ready()
        assert [state for state, _ in errors(told)] == ["57014"]
        withdrawn = await gateway.until_event("ApprovalWithdrawn")
        assert withdrawn["reason"] == "the caller cancelled the statement"
        assert kinds(await wire.query("SELECT 1")) == "TDCZ"
    outcome = next(event for event in await gateway.outcomes(2) if event["approval_id"])
    assert outcome["outcome"] == "withdrawn"
    assert left(gateway) == 10


async def test_a_cancel_of_what_runs_is_passed_on(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(frontend.Query(b"SELECT pg_sleep(599)"))
        await until(lambda: "SELECT pg_sleep(599)" in gateway.server.log)  # which other tests write, too
        await cancel(gateway, wire)
        assert [state for state, _ in errors(await wire.until_ready())] == ["57014"]
        assert kinds(await wire.query("SELECT 1")) == "TDCZ"


async def test_disconnecting_takes_the_question_back(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(Parse(b"", b"DELETE FROM t WHERE n = $1"), Bind(b"", b"", parameters=(b"1",)), Execute(b""), Sync())
        while not isinstance(await wire.next(), backend.Report):
            pass  # up to the notice that people were asked
    withdrawn = await gateway.until_event("ApprovalWithdrawn")
    assert withdrawn["reason"] == "the caller disconnected"
    [outcome] = await gateway.outcomes()
    assert outcome["outcome"] == "withdrawn"
    assert left(gateway) == 10


async def test_it_outlives_the_servers_idle_timer_and_not_the_server(gateway: Gateway) -> None:
    await booted(gateway)
    async with AsyncExitStack() as stack:
        for seconds in (
            0.3,
            2,
            10,
        ):  # the timer runs between BEGIN and the question, too: a slow machine needs a longer one
            setting = f"idle_in_transaction_session_timeout = '{int(seconds * 1000)}ms'"
            gateway.server.execute(f"ALTER DATABASE {gateway.database} SET {setting}")
            wire = await stack.enter_async_context(through(gateway, application_name="patient"))
            if await outlives(gateway, wire, seconds):
                break
        else:
            pytest.fail("the server has ended each of them")
        gateway.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'patient'"
        )
        await gateway.until_event(
            "ApprovalWithdrawn", lambda event: event["reason"] == "the database closed the connection"
        )
        outcome = await gateway.until_event("OperationFinished", lambda event: event["approval_id"] is not None)
        assert (outcome["outcome"], outcome["error"]) == ("withdrawn", "the database closed the connection")


async def outlives(gateway: Gateway, wire: Wire, seconds: float) -> bool:
    """Whether a transaction in which a statement is held is still there when the server's timer is over."""
    idle = f"""SELECT now() - state_change > '{seconds + 0.5}s' FROM pg_stat_activity
                WHERE application_name = 'patient' AND state = 'idle in transaction'"""
    wire.send(frontend.Query(b"BEGIN"), frontend.Query(b"DELETE FROM t"))
    try:
        while not isinstance(said := await wire.next(), backend.Report):
            pass
    except EOFError:
        return False
    if said.kind != backend.NOTICE:
        return False
    await until(lambda: gateway.server.execute(idle) != [(False,)])
    return gateway.server.execute(idle) == [(True,)]


async def test_people_are_not_asked_for_what_cannot_run(gateway: Gateway) -> None:
    """In a transaction that has failed, and in a pipeline that fails while they are asked."""
    await booted(gateway)
    async with through(gateway) as wire:
        await wire.query("BEGIN")
        await wire.query("SELECT 1/0")
        assert [state for state, _ in errors(await wire.query("DELETE FROM t"))] == ["25P02"]
        wire.send(Parse(b"", b"DELETE FROM t"), Bind(b"", b""), Execute(b""), Sync())
        assert [state for state, _ in errors(await wire.until_ready())] == ["25P02"]
        wire.send(frontend.Query(b"ROLLBACK; DELETE FROM t WHERE n = 1"))
        await gateway.decide("approve", await gateway.approval(3))
        assert [state for state, _ in errors(await wire.until_ready())] == []
        wire.send(
            Parse(b"", b"SELECT 1/(n - n) FROM t, pg_sleep(0.2)"), Bind(b"", b""), Execute(b""),
            Parse(b"", b"DELETE FROM t"), Bind(b"", b""), Execute(b""), Sync(),
        )  # fmt: skip
        assert [state for state, _ in errors(await wire.until_ready())] == ["22012"]
        await until(lambda: len(gateway.events("ApprovalWithdrawn")) == 3)
        assert [event["reason"] for event in gateway.events("ApprovalWithdrawn")] == [
            "its transaction has failed already",
            "its transaction has failed already",
            "an earlier message of the pipeline failed",
        ]
    assert left(gateway) == 9


async def test_rows_of_another_table_are_not_counted(gateway: Gateway) -> None:
    """The preview has a connection of its own: where a name may mean another table there, no number is told."""
    await booted(gateway)
    for number, (before, delete, told) in enumerate(
        (
            ("SELECT 1", "DELETE FROM t", True),
            ("SELECT 1", "SELECT set_config('search_path', 'other', false); DELETE FROM t", False),
            ("SELECT 1", "SET search_path = other; DELETE FROM public.t", True),
            ("CREATE TEMP TABLE t (n int)", "DELETE FROM t", False),
        ),
        start=1,
    ):
        async with through(gateway) as wire:
            assert errors(await wire.query(before)) == []
            wire.send(frontend.Query(delete.encode()))
            await until(lambda asked=number: len(gateway.events("ApprovalPreviewed")) == asked)
            previewed = gateway.events("ApprovalPreviewed")[-1]
            assert (previewed["counted_rows"], bool(previewed["problem"])) == ((10, False) if told else (None, True))


async def test_nobody_decides(gateway: Gateway) -> None:
    await booted(gateway, approvals={"wait": "200ms"})
    async with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody decided in time"):
            await connection.execute("DELETE FROM t")
        await gateway.until_event("ApprovalWithdrawn")
    [outcome] = await gateway.outcomes()
    assert outcome["outcome"] == "expired"
    assert left(gateway) == 10


async def test_what_came_before_it_in_a_pipeline_runs_meanwhile(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(
            Parse(b"", b"SELECT 'before'"), Bind(b"", b""), Execute(b""),
            Parse(b"", b"DELETE FROM t"), Bind(b"", b""), Execute(b""), Sync(),
        )  # fmt: skip
        early = [await wire.next() for _ in range(4)]
        assert sorted(kinds(early)) == sorted("12DC") or "N" in kinds(early)
        await gateway.decide("approve", await gateway.approval())
        rest = await wire.until_ready()
        assert kinds(rest).endswith("CZ")
    assert left(gateway) == 0


async def test_preparing_asks_nobody(gateway: Gateway) -> None:
    await booted(gateway)
    async with through(gateway) as wire:
        wire.send(Parse(b"s", b"DELETE FROM t WHERE n = $1"), frontend.Describe(frontend.STATEMENT, b"s"), Sync())
        assert kinds(await wire.until_ready()) == "1tnZ"
        assert gateway.events("ApprovalRequested") == []
        wire.send(Bind(b"", b"s", parameters=(b"1",)), Execute(b""), Sync())
        await gateway.decide("approve", await gateway.approval())
        assert kinds(await wire.until_ready())[-3:] == "2CZ"
    assert left(gateway) == 9


async def granted(gateway: Gateway, connection: psycopg.AsyncConnection[Any]) -> str:
    """Have a person approve for an hour; the grant's id, once policy has heard of it."""
    running = asyncio.ensure_future(connection.execute("DELETE FROM t WHERE n = 1"))
    await gateway.decide("approve", await gateway.approval(), grant_seconds=600)
    await running
    resolved = await gateway.until_event("ApprovalResolved", lambda event: bool(event["grant_id"]))
    while True:
        asked = len(gateway.events("ApprovalRequested"))
        attempt = asyncio.ensure_future(connection.execute("DELETE FROM t WHERE n = 2"))
        while not attempt.done() and len(gateway.events("ApprovalRequested")) == asked:
            await asyncio.wait((attempt,), timeout=0.05)
        if attempt.done():
            await attempt
            return str(resolved["grant_id"])
        await gateway.decide("deny", await gateway.approval(asked + 1))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await attempt


async def test_a_grant_covers_what_comes_next(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        await granted(gateway, connection)
        asked = len(gateway.events("ApprovalRequested"))
        await connection.execute("DELETE FROM t WHERE n = %s", [3])
    assert len(gateway.events("ApprovalRequested")) == asked
    assert left(gateway) == 7


async def test_a_grant_that_ends_leaves_a_session_alone_that_ran_nothing_under_it(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        grant = await granted(gateway, connection)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DELETE FROM t WHERE n = 3; TRUNCATE t")
        bucket = await (await gateway.bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
        await bucket.delete(grant)
        await gateway.ingress.client.flush(60)  # the ingress has heard of it
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_what_runs_under_a_grant_ends_with_it(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect(application_name="granted") as connection:
        grant = await granted(gateway, connection)
        running = asyncio.ensure_future(connection.execute("DELETE FROM t USING (SELECT pg_sleep(600)) AS slow"))
        await until(lambda: "pg_sleep(600)) AS slow" in gateway.server.log)
        bucket = await (await gateway.bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
        await bucket.delete(grant)
        with pytest.raises(psycopg.errors.QueryCanceled, match="revoked"):
            await running
    outcome = await gateway.until_event("OperationFinished", lambda event: "revoked" in event["error"])
    assert outcome["outcome"] == "failed"
    await until(lambda: "pg_sleep" not in str(gateway.server.execute(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'granted'"
    )))  # fmt: skip
    assert left(gateway) == 8


async def test_held_within_a_transaction_and_denied_it_fails_the_transaction(gateway: Gateway) -> None:
    await booted(gateway)
    async with gateway.connect() as connection:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO t VALUES (11, 'w11')")
        running = asyncio.ensure_future(connection.execute("DELETE FROM t"))
        await gateway.decide("deny", await gateway.approval())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await running
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        await connection.execute("ROLLBACK")
    assert left(gateway) == 10
