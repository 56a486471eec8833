"""Background tasks: named, kept, and never failing in silence."""

import asyncio
import gc

import pytest

from services.runtime.tasks import TaskGroup, heed_cancellation


async def fails() -> None:
    raise LookupError("nobody awaits this")


async def test_a_task_has_a_name_and_survives_the_garbage_collector() -> None:
    tasks, gate = TaskGroup("owner"), asyncio.Event()
    task = tasks.start(gate.wait(), "waiting")
    assert task.get_name() == "owner:waiting"
    gc.collect()
    assert len(tasks) == 1
    gate.set()
    assert await task is True
    assert len(tasks) == 0


async def test_an_error_reaches_on_error_and_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    errors: list[BaseException] = []
    tasks = TaskGroup("owner", on_error=errors.append)
    other = tasks.start(asyncio.Event().wait(), "other")
    failing = tasks.start(fails(), "failing")
    await asyncio.wait({failing})
    await asyncio.sleep(0)
    assert [str(error) for error in errors] == ["nobody awaits this"]
    assert not other.done()
    await tasks.cancel()
    assert "owner:failing" in "".join(capsys.readouterr())


async def test_cancelling_is_no_error_and_waits_for_the_end() -> None:
    errors: list[BaseException] = []
    ended = asyncio.Event()

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    tasks = TaskGroup("owner", on_error=errors.append)
    tasks.start(cleans_up(), "one")
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended.is_set()
    assert errors == []


async def test_a_member_may_cancel_its_group() -> None:
    tasks = TaskGroup("owner")
    other = tasks.start(asyncio.Event().wait(), "other")
    await tasks.start(tasks.cancel(), "ender")
    assert other.cancelled()


async def test_drain_tells_whether_all_ended() -> None:
    tasks, gate = TaskGroup("owner"), asyncio.Event()
    assert await tasks.drain(0) is True
    tasks.start(gate.wait(), "one")
    assert await tasks.drain(0) is False
    gate.set()
    assert await tasks.drain(10) is True


async def test_a_cancellation_that_was_lost_is_heeded() -> None:
    """As Python 3.11's `wait_for` loses it: caught, and the task goes on."""

    async def loses_it() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heed_before_the_next_step.set()
        heed_cancellation()
        raise AssertionError("went on")

    heed_before_the_next_step = asyncio.Event()
    tasks = TaskGroup("owner")
    heed_cancellation()
    task = tasks.start(loses_it(), "one")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert heed_before_the_next_step.is_set()
    assert task.cancelled()
