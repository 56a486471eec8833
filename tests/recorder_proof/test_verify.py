"""`audit verify` on an untouched log finds nothing; proofs are checked without us."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from countersign.proof.completeness import gaps
from countersign.proof.findings import Report
from countersign.proof.proving import prove
from countersign.proof.tables import verify_tables
from countersign.record import rows
from services.recorder.keyring import Keyring
from services.recorder.proof.bundle import BadProof, check
from services.recorder.rows import build
from services.recorder.tables import EVENTS
from tests.recorder import events as e
from tests.recorder_proof.building import Log, a_log, key_of

pytestmark = pytest.mark.usefixtures("open_engine")


@pytest.fixture
async def log(engine_dsn: str) -> AsyncIterator[Log]:
    async with a_log(engine_dsn, stories=10) as log:
        yield log


async def test_an_untouched_log_is_well(log: Log) -> None:
    report = log.verify()
    assert list(report.lines())[-1].endswith("all is well"), report.findings
    assert report.compared == await log.store.count() + await log.store.count("session_frames")
    assert (report.erased_sessions, report.against) == (1, sum(map(len, log.witness.values())))
    assert [one.unsealed for one in report.logs] == [0, 0]
    await log.add(list(e.stories(3)))
    report = log.verify()
    assert report.ok
    assert [one.unsealed for one in report.logs] == [9, 0]


async def test_a_batch_that_is_being_written_is_waited_for(log: Log) -> None:
    """A recorder at work writes typed rows first, their events last."""
    deliveries = e.deliveries([e.attempt()], log.stored["AUDIT"] + 1)
    sealed = await Keyring(log.store).sealed(build(deliveries, "AUDIT", 1), "AUDIT", "in-flight")
    last = sealed.pop(EVENTS)
    for table, made in sealed.items():
        await log.store.insert(table.name, made, table.columns, f"in-flight:{table.name}")
    assert [finding.what for finding in log.verify().findings] == ["added"]
    report, asked = Report(), threading.Event()

    class Told:
        def ask(self, *question: Any) -> Iterator[bytes]:
            asked.set()
            return log.reader.ask(*question)

    verifying = asyncio.gather(asyncio.to_thread(verify_tables, Told(), report, 60))
    await asyncio.to_thread(asked.wait)
    await log.store.insert(EVENTS.name, last, EVENTS.columns, "in-flight:events")
    await verifying
    assert report.findings == []


async def test_rows_from_before_content_was_sealed_are_compared_too(log: Log) -> None:
    event = e.attempt()
    deliveries = e.deliveries([event], log.stored["AUDIT"] + 1)
    for table, made in build(deliveries, "AUDIT", 1, parted=False).items():
        await log.store.insert(table.name, made, table.columns, f"old:{table.name}")
    log.stored["AUDIT"] += 1
    await log.seal()
    assert log.verify().ok
    where = {"id": event.operation_id}
    (told,) = await log.store.query("SELECT statement FROM operations WHERE operation_id = {id:String}", where)
    assert told["statement"] == "Summarise the contract"
    await log.store.command(
        f"ALTER TABLE attempts UPDATE statement = 'x' WHERE event_id = '{event.event_id}' SETTINGS mutations_sync = 2"
    )
    assert [finding.event_id for finding in log.verify().findings] == [event.event_id]


async def test_an_event_that_is_content_whole_still_has_its_row(log: Log) -> None:
    """Its bytes went with its typed row, so nothing but the row's absence can tell."""
    found = await log.store.query("SELECT event_id FROM events WHERE raw = ''")
    assert len(found) == 3
    gone = found[1]["event_id"]
    await log.store.command(f"ALTER TABLE attempts DELETE WHERE event_id = '{gone}' SETTINGS mutations_sync = 2")
    assert [(one.what, one.table, one.event_id) for one in log.verify().findings] == [("missing", "attempts", gone)]


async def test_a_proof_holds_without_the_database(log: Log) -> None:
    attempts = await log.store.query("SELECT operation_id, event_id FROM attempts ORDER BY stream_seq")
    for row in (attempts[0], attempts[-3]):
        bundle = prove(log.reader, row["operation_id"], reveal=False)
        shown = prove(log.reader, row["operation_id"], reveal=True)
        for event, revealed in zip(bundle.events, shown.events, strict=True):
            checked, whole = check(event, key_of("AUDIT")), check(revealed, key_of("AUDIT"))
            assert checked.entry == whole.entry
            assert whole.whole
            assert checked.whole is (not revealed.sealed)
        assert b'"statement"' in whole.bytes or shown.events[0].sealed
        event = bundle.events[0]
        for lie in (
            event.model_copy(update={"raw": event.raw.replace("agent-7", "agent-8")}),
            event.model_copy(update={"proof": event.proof.replace("index ", "index 1")}),
            event.model_copy(
                update={"proof": event.proof.replace(event.proof.split("\n")[4], event.proof.split("\n")[3])}
            ),
            event.model_copy(update={"event_id": bundle.events[1].event_id}),
            event.model_copy(update={"type": "VerdictReached"}),
            shown.events[0].model_copy(update={"content_key": "00" * 32}),
            shown.events[0].model_copy(update={"sealed": "AAAA"}),
        ):
            with pytest.raises(BadProof):
                check(lie, key_of("AUDIT"))
        with pytest.raises(BadProof, match="not of another"):
            check(event, key_of("AUDIT"), of="another")
        with pytest.raises(BadProof):
            check(event, key_of("RECORDING"))


async def test_gaps_are_named(log: Log) -> None:
    # The builder's messages were stored long ago, so that nothing of them can still be on its way.
    assert [str(gap) for gap in gaps(log.reader)] == []
    await log.store.command(
        "ALTER TABLE events DELETE WHERE ingress = 'ingress-1' AND ingress_seq IN (7, 8) SETTINGS mutations_sync = 2"
    )
    told = [str(gap) for gap in gaps(log.reader)]
    page = (Path(__file__).parents[2] / "docs" / "auditors.md").read_text()
    (query,) = (one for one in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "ingress_seq" in one)
    assert [(row["ingress"], int(row["missing"])) for row in rows(log.reader, query)] == [("ingress-1", 2)]
    assert "ingress ingress-1: 7 to 8 missing" in told
    assert sum("stream AUDIT, epoch 1" in line for line in told) == 2
