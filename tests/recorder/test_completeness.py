"""completeness.py: a number that an ingress gave out and that is not on record is counted."""

from collections.abc import AsyncIterator

import pytest

from services.recorder.completeness import missing_events
from services.recorder.rows import build
from tests.recorder import events as e
from tests.recorder.recording import Moody, database

pytestmark = pytest.mark.usefixtures("open_engine")


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


async def test_holes_are_counted_over_both_streams(store: Moody) -> None:
    refused = e.attempt("a", seq=4)  # the log was full, or its ack was lost
    audit = [
        e.attempt("a", seq=1),
        e.outcome(refused, seq=5, attributes={"unjudged_seq": 4}),
        e.attempt("a", seq=6),
        e.outcome(refused, seq=7, attributes={"unjudged_seq": 6}),
        e.attempt("b", seq=1),
    ]
    frames = [e.frame(1, ingress="a", ingress_seq=2)]
    for events, stream in ((audit, "AUDIT"), (frames, "RECORDING")):
        deliveries = [delivery._replace(published_at=1_700_000_000_000_000) for delivery in e.deliveries(events)]
        for table, rows in build(deliveries, stream, 1).items():
            await store.insert(table.name, rows, table.columns, f"{stream}-{table.name}")
    assert await missing_events(store) == 1


async def test_what_was_stored_just_now_may_still_be_overtaken(store: Moody) -> None:
    for table, rows in build(
        [delivery._replace(published_at=4_000_000_000_000_000) for delivery in e.deliveries([e.attempt("a", seq=9)])],
        "AUDIT",
        1,
    ).items():
        await store.insert(table.name, rows, table.columns, table.name)
    assert await missing_events(store) == 0
