"""The writer on a real bus and a real ClickHouse engine: each event once, whatever dies, lags or repeats (G7)."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from schemas import subjects as s
from services.recorder.position import decode
from services.recorder.seat import Deposed
from services.recorder.store_errors import StoreUnavailable
from tests.conftest import Bus, until
from tests.recorder import events as e
from tests.recorder.recording import LEASE, RECORDING, Copies, Moody, database

pytestmark = pytest.mark.usefixtures("open_engine")


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


@pytest.fixture
async def copies(bus: Bus, store: Moody) -> AsyncIterator[Copies]:
    copies = Copies(bus, store)
    yield copies
    await copies.close()


async def each_once(store: Moody, operations: int) -> None:
    """Every operation's three events are stored, each in one row of each table."""
    await until(lambda: _count_reaches(store, 3 * operations))
    for table, expected in {
        "events": 3 * operations,
        "attempts": operations,
        "verdicts": operations,
        "outcomes": operations,
        "operations": operations,
    }.items():
        what = "operation_id" if table == "operations" else "event_id"
        assert await store.count(table) == expected, table
        assert await store.count(table, f"uniqExact({what})") == expected, table


async def _count_reaches(store: Moody, expected: int) -> bool:
    return await store.count() >= expected


async def test_events_are_stored_and_acked(bus: Bus, copies: Copies, store: Moody) -> None:
    ingress = await bus.connect("admin")
    await e.publish(ingress, e.stories(400))
    copy = await copies.make("a")
    copy.start()
    await each_once(store, 400)
    await until(lambda: copy.writer.seat.position.stored == 1200)
    info = await ingress.jetstream().consumer_info(s.AUDIT_STREAM, "recorder")
    assert info.num_pending == 0
    assert copy.writer.ready is True


async def test_frames_are_stored_by_the_same_machinery(bus: Bus, copies: Copies, store: Moody) -> None:
    ingress = await bus.connect("admin")
    await e.publish(ingress, [e.frame(number, f"piece {number}") for number in range(1, 51)])
    (await copies.make("a", RECORDING)).start()
    await until(lambda: _frames(store, 50))
    assert await store.count("frames", "countIf(data LIKE 'piece %')") == 50


async def _frames(store: Moody, expected: int) -> bool:
    return await store.count("session_frames") >= expected


async def test_an_insert_whose_answer_is_lost_is_not_stored_twice(bus: Bus, copies: Copies, store: Moody) -> None:
    store.answers_lost = 3
    await e.publish(await bus.connect("admin"), e.stories(50))
    (await copies.make("a")).start()
    await each_once(store, 50)
    repeated = [insert for insert in store.inserts if store.inserts.count(insert) > 1]
    assert repeated


async def test_nothing_is_lost_while_clickhouse_is_away(bus: Bus, copies: Copies, store: Moody) -> None:
    store.away = True
    copy = await copies.make("a")
    copy.start()
    await e.publish(await bus.connect("admin"), e.stories(100))
    await until(lambda: store.refused >= 3)
    assert await store.count() == 0
    store.away = False
    await each_once(store, 100)


async def test_a_writer_that_dies_between_inserts_is_followed_exactly(bus: Bus, copies: Copies, store: Moody) -> None:
    """It dies after some tables of a claimed range were written; the next inserts the range again, as a whole."""
    publisher = await bus.connect("admin")
    first, second = await copies.make("a", rows=90), await copies.make("b", rows=70)
    await e.publish(publisher, e.stories(100))
    original, died = store.insert, []

    async def insert(table: str, *rest: object) -> None:
        if table == "outcomes" and not died:
            died.append(table)
            await first.kill()
        await original(table, *rest)  # type: ignore[arg-type]

    store.insert = insert  # type: ignore[method-assign]
    first.start()
    await until(lambda: died)
    second.start()
    await each_once(store, 100)
    await until(lambda: second.writer.writing)


@pytest.mark.parametrize("dies", [False, True], ids=["the server", "the writer"])
async def test_a_token_that_outlived_its_rows_loses_nothing(bus: Bus, copies: Copies, store: Moody, dies: bool) -> None:
    """ClickHouse notes a token before it commits its rows; killed in between, it drops the repeat."""
    publisher = await bus.connect("admin")
    first, second = await copies.make("a"), await copies.make("b")
    await e.publish(publisher, e.stories(50))
    original, hit = store.insert, []

    async def insert(table: str, rows: Sequence[Any], columns: Sequence[str], token: str) -> None:
        if table != "attempts" or hit:
            return await original(table, rows, columns, token)
        hit.append(token)
        await original(table, rows[:1], columns, token)
        if dies:
            await first.kill()
        raise StoreUnavailable("killed")

    store.insert = insert  # type: ignore[method-assign]
    first.start()
    await until(lambda: hit)
    second.start()
    await each_once(store, 50)


async def test_only_one_of_two_copies_writes_and_the_other_takes_over(bus: Bus, copies: Copies, store: Moody) -> None:
    publisher = await bus.connect("admin")
    # The first one leaves in an orderly way: nobody waits for its lease, which is long enough for any pause.
    one, other = await copies.make("a", lease=6), await copies.make("b", lease=6)
    one.start()
    await until(lambda: one.writer.writing)
    other.start()
    await e.publish(publisher, e.stories(50))
    await each_once(store, 50)
    await until(lambda: other.writer.ready is True)
    assert not other.writer.writing
    await one.stop()
    await until(lambda: other.writer.writing)
    await e.publish(publisher, e.stories(50))
    await each_once(store, 100)


async def test_a_zombie_is_deposed_at_its_next_move(bus: Bus, copies: Copies, store: Moody) -> None:
    zombie, heir = await copies.make("a"), await copies.make("b")
    assert await zombie.writer.seat.take()  # and then it says nothing for a lease
    heir.start()
    await until(lambda: heir.writer.writing, timeout=20 * LEASE + 5)
    with pytest.raises(Deposed):
        await zombie.writer.seat.move(lambda now: now.claim(10))


async def test_redelivered_messages_are_dropped(bus: Bus, copies: Copies, store: Moody) -> None:
    """The consumer forgets what was acked (a NATS restored from an older state): all of it comes again."""
    publisher = await bus.connect("admin")
    copy = await copies.make("a")
    copy.start()
    await e.publish(publisher, e.stories(30))
    await each_once(store, 30)
    await publisher.jetstream().delete_consumer(s.AUDIT_STREAM, "recorder")
    await e.publish(publisher, e.stories(30))
    await each_once(store, 60)


async def test_messages_that_are_no_events_are_dead_letters(bus: Bus, copies: Copies, store: Moody) -> None:
    publisher = await bus.connect("admin")
    await publisher.jetstream().publish("cs.attempt.http.openai", b"not json")
    await e.publish(publisher, e.stories(5))
    await publisher.jetstream().publish("cs.approval.postponed.x", b"{}")
    copy = await copies.make("a")
    copy.start()
    await each_once(store, 5)
    await until(lambda: copy.writer.seat.position.stored == 17)
    letters = await store.query("SELECT reason, opened, subject, stream_seq FROM dead_letters ORDER BY stream_seq")
    assert [(letter["stream_seq"], letter["opened"]) for letter in letters] == [(1, "not json"), (17, "{}")]
    assert "not a OperationAttempted" in letters[0]["reason"]


async def test_poison_is_halved_out_and_the_rest_is_stored_once(bus: Bus, copies: Copies, store: Moody) -> None:
    story = list(e.stories(20))
    poisoned = story[21]
    store.poison = {poisoned.operation_id}  # type: ignore[attr-defined]
    await e.publish(await bus.connect("admin"), story)
    copy = await copies.make("a")
    copy.start()
    await until(lambda: copy.writer.seat.position.stored == 60)
    assert await store.count("events") == await store.count("events", "uniqExact(event_id)") == 60
    assert await store.count("attempts") == await store.count("attempts", "uniqExact(event_id)") == 19
    assert await store.count("outcomes") == 20
    (letter,) = await store.query("SELECT reason, opened FROM dead_letters")
    assert "attempts: poison" in letter["reason"]
    assert letter["opened"].encode() == e.encoded(poisoned)


async def test_a_lost_bucket_is_made_up_for_from_clickhouse(bus: Bus, copies: Copies, store: Moody) -> None:
    admin = await bus.connect("admin")
    copy = await copies.make("a")
    copy.start()
    await e.publish(admin, e.stories(40))
    await each_once(store, 40)
    await copy.stop()
    bucket = await admin.jetstream().key_value(s.RECORDER_BUCKET)
    await bucket.purge(s.AUDIT_STREAM)
    await e.publish(admin, e.stories(10))
    heir = await copies.make("b")
    heir.start()
    await each_once(store, 50)


async def test_a_lost_database_is_filled_from_the_stream(bus: Bus, copies: Copies, store: Moody) -> None:
    admin = await bus.connect("admin")
    copy = await copies.make("a")
    copy.start()
    await e.publish(admin, e.stories(40))
    await each_once(store, 40)
    await until(lambda: copy.writer.seat.position.stored == 120)
    await copy.stop()
    for table in ("events", "attempts"):  # one of the others kept its rows: as after a backup of half of it
        await store.command(f"TRUNCATE TABLE {table}")
    heir = await copies.make("b")
    heir.start()
    await each_once(store, 40)
    entry = await (await admin.jetstream().key_value(s.RECORDER_BUCKET)).get(s.AUDIT_STREAM)
    assert decode(entry.value or b"").careful_until == 120
