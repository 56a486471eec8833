"""Content goes when its connector's tags say so, on record, and the log holds."""

from collections.abc import AsyncIterator

import pytest

from schemas import subjects
from schemas.base import new_id
from schemas.events import ContentErased, OperationAttempted
from schemas.operations import Connector
from services.recorder.clickhouse import Store
from services.recorder.erasing import erase
from services.recorder.tag_retention import BY, TagRetention
from tests.conftest import Bus
from tests.recorder import events as e
from tests.recorder.recording import database, record

pytestmark = pytest.mark.usefixtures("open_engine")
DAY = 86400.0
KEPT = {"env=dev": 10 * DAY, "team=red": 5 * DAY}


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Store]:
    async with database(engine_dsn) as store:
        yield store


def tried(session_id: str, **tags: str) -> OperationAttempted:
    return e.attempt(session_id=session_id, connector=Connector(name="any", protocol="http", tags=tags))


async def said(bus: Bus) -> list[ContentErased]:
    jetstream = (await bus.connect("admin")).jetstream()
    last = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
    messages = [await jetstream.get_msg(subjects.AUDIT_STREAM, seq) for seq in range(1, last + 1)]
    return [ContentErased.model_validate_json(message.data or b"") for message in messages]


async def test_a_session_goes_when_its_last_tag_lets_it(store: Store, bus: Bus) -> None:
    dev, both, mixed, prod = (new_id() for _ in range(4))
    attempts = [
        tried(dev, env="dev"),
        tried(both, env="dev", team="red"),
        *(tried(mixed, env="dev"), tried(mixed, env="prod")),
        tried(prod, env="prod"),
    ]
    await record(store, attempts)
    (newest,) = await store.query("SELECT max(toUnixTimestamp64Micro(published_at)) / 1e6 AS at FROM attempts")
    retention = TagRetention(store, (await bus.connect("recorder")).jetstream(), KEPT)
    assert await retention.erase(newest["at"] + 4 * DAY) == 0
    assert await retention.erase(newest["at"] + 6 * DAY) == 1
    assert await retention.erase(newest["at"] + 1000 * DAY) == 2
    events = await said(bus)
    assert [(event.session_id, event.by) for event in events] == [(both, BY), (dev, BY)]

    await record(store, events)
    assert await erase(store) == 2
    assert await retention.erase(newest["at"] + 1000 * DAY) == 0
    left = await store.query("SELECT session_id, statement FROM operations")
    told = {row["session_id"]: row["statement"] for row in left}
    assert {session for session, statement in told.items() if statement == "[erased]"} == {dev, both}
    assert len(told) == 4
