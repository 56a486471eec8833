"""A watch says that all has been seen when it has been, whenever nats-py's own marker comes."""

import asyncio
from typing import Any

import nats.errors
import pytest
from nats.js.kv import KeyValue

from schemas import subjects
from services.runtime.nats.bucket_watch import BucketWatch, WatchStopped
from tests.conftest import Bus

PATIENCE = 20.0


def entry(number: int, behind: int) -> KeyValue.Entry:
    return KeyValue.Entry("b", f"k{number}", b"v", number, behind, None, None)


def watch(expected: int, *updates: Any) -> BucketWatch:
    """On nats-py's own watcher, with what the client has put into its queue, in that order."""
    watcher = KeyValue.KeyWatcher(None)
    for update in updates:
        watcher._updates.put_nowait(update)
    return BucketWatch(watcher, expected)


async def seen(watch: BucketWatch, count: int) -> list[int | None]:
    return [update.revision if (update := await watch.next(PATIENCE)) else None for _ in range(count)]


@pytest.mark.parametrize(
    ("expected", "updates"),
    [
        (2, (None, entry(1, 1), entry(2, 0), entry(3, 0))),
        (2, (entry(1, 1), entry(2, 0), None, entry(3, 0))),
    ],
    ids=("too early", "in its place"),
)
async def test_the_end_of_what_was_there_comes_once_and_after_it(expected: int, updates: tuple[Any, ...]) -> None:
    assert await seen(watch(expected, *updates), 4) == [1, 2, None, 3]


async def test_an_entry_that_nats_py_leaves_out_may_be_the_last() -> None:
    assert await seen(watch(2, entry(1, 1), None, entry(3, 0)), 3) == [1, None, 3]


async def test_an_empty_bucket_has_an_end_at_once_and_only_one() -> None:
    empty = watch(0, None, entry(1, 0), entry(2, 0))
    assert await seen(empty, 3) == [None, 1, 2]
    with pytest.raises(nats.errors.TimeoutError):
        await empty.next(0.0)


async def test_a_bucket_of_hundreds_is_read_whole(bus: Bus) -> None:
    bucket = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    await asyncio.gather(*(bucket.put(f"k{number}", b"v") for number in range(300)))
    for _ in range(10):
        opened = await BucketWatch.open(bucket)
        keys = set()
        while (update := await opened.next(PATIENCE)) is not None:
            keys.add(update.key)
        assert len(keys) == 300
        await opened.stop()


async def test_who_waits_hears_that_it_was_stopped(bus: Bus) -> None:
    bucket = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    opened = await BucketWatch.open(bucket)
    assert await opened.next(PATIENCE) is None
    await opened.stop()
    with pytest.raises(WatchStopped):
        await opened.next(PATIENCE)
