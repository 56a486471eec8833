"""Old events go, on the recorder's signed word, and everything that is left still holds."""

from collections.abc import AsyncIterator

import pytest

from countersign.proof.completeness import gaps
from countersign.proof.proving import prove
from schemas.events import Event
from services.recorder.completeness import missing_events
from services.recorder.proof.bundle import check
from services.recorder.proof.note import origin
from services.recorder.retaining import Retainer
from services.recorder.store_errors import StoreUnavailable
from services.recorder.tables import EVENTS, Table
from tests.recorder import events as e
from tests.recorder_proof.building import KEY, LOG, Log, a_log, key_of

pytestmark = pytest.mark.usefixtures("open_engine")
DAY = 86400.0


@pytest.fixture
async def log(engine_dsn: str) -> AsyncIterator[Log]:
    async with a_log(engine_dsn, stories=10) as log:
        yield log


def retainer(log: Log, stream: str) -> Retainer:
    return Retainer(log.store, stream, origin=origin(LOG, stream), key=KEY, retention=DAY)


async def moment(log: Log, seq: int) -> float:
    """When the message was stored, a day later: what is before it is old then."""
    (row,) = await log.store.query(
        "SELECT toUnixTimestamp64Micro(published_at) AS at FROM events WHERE stream_seq = {seq:UInt64}", {"seq": seq}
    )
    return int(row["at"]) / 1_000_000 + DAY


async def test_what_is_old_goes_and_the_log_holds(log: Log) -> None:
    before, now = await log.store.count(), await moment(log, 61)
    assert not await retainer(log, "AUDIT").retain(now)
    assert await log.store.count("events", "min(stream_seq)") == 61
    assert await log.store.count("attempts", "min(stream_seq)") >= 61
    assert await log.store.count() == before - 60
    report = log.verify()
    assert report.ok, report.findings
    assert [one.expired for one in report.logs] == [60, 0]
    assert list(gaps(log.reader)) == []
    assert await missing_events(log.store) == 0
    (left,) = await log.store.query("SELECT operation_id FROM attempts ORDER BY stream_seq LIMIT 1")
    assert check(prove(log.reader, left["operation_id"], reveal=True).events[0], key_of("AUDIT")).whole
    assert not await retainer(log, "AUDIT").retain(now)
    await log.add([])
    await log.seal()
    assert log.verify().ok


async def test_events_that_overtook_others_and_kept_erasures_are_no_gaps(log: Log) -> None:
    """Numbers 1 2 4 3 …, and the cut between 4 and 3; behind an erasure, which stays."""
    events: list[Event] = []
    for number in range(1, 161, 4):
        one, two, three = (e.attempt("ingress-7", seq=number + more) for more in (0, 1, 3))
        events += [one, two, three, e.outcome(two, seq=number + 2)]
    first = log.stored["AUDIT"] + 1
    await log.add(events)
    await log.seal()
    for cut in (first + 42, first + 43):
        await retainer(log, "AUDIT").retain(await moment(log, cut))
        assert (list(gaps(log.reader)), await missing_events(log.store)) == ([], 0)
    assert await log.store.count("erasures") == 1
    await log.store.command(f"ALTER TABLE events DELETE WHERE stream_seq = {first + 90} SETTINGS mutations_sync = 2")
    assert [str(gap) for gap in gaps(log.reader)] == [f"stream AUDIT, epoch 1: {first + 90} missing"]


async def test_a_round_that_was_cut_off_is_no_tampering(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed rows go before their events."""
    cut_off, now = retainer(log, "AUDIT"), await moment(log, 61)
    whole = cut_off._delete

    async def dies(table: Table, where: str) -> None:
        if table is EVENTS:
            raise StoreUnavailable("killed")
        await whole(table, where)

    monkeypatch.setattr(cut_off, "_delete", dies)
    with pytest.raises(StoreUnavailable):
        await cut_off.retain(now)
    assert log.verify().findings == []
    await log.store.command("ALTER TABLE erasures DELETE WHERE 1 SETTINGS mutations_sync = 2")
    assert "missing" in {finding.what for finding in log.verify().findings}


async def test_the_newest_stays_and_erasures_do(log: Log) -> None:
    now = await moment(log, 1) + 1000 * DAY
    for stream in ("AUDIT", "RECORDING"):
        await retainer(log, stream).retain(now)
    assert await log.store.count("events", "max(stream_seq)") == log.stored["AUDIT"]
    assert await log.store.count("session_frames") == 1
    assert await log.store.count("erasures") == 1
    assert await log.store.count("attempts") == 0
    report = log.verify()
    assert report.ok, report.findings


@pytest.mark.parametrize(
    "tampering",
    [
        "ALTER TABLE retentions DELETE WHERE 1",
        "ALTER TABLE retentions UPDATE note = replaceOne(note, '\n60\n', '\n90\n') WHERE 1",
        "ALTER TABLE events DELETE WHERE stream_seq = 62",
    ],
)
async def test_nobody_else_can_call_a_missing_row_expired(log: Log, tampering: str) -> None:
    await retainer(log, "AUDIT").retain(await moment(log, 61))
    await log.store.command(f"{tampering} SETTINGS mutations_sync = 2")
    assert "missing" in {finding.what for finding in log.verify().findings}
