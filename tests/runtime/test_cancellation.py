"""A cancellation that meets an answer of the bus is not lost."""

import asyncio

from services.runtime.nats.provision import provision
from services.runtime.settings.model import NatsSettings
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus

MOMENTS = 100


async def test_what_talks_to_the_bus_ends_whenever_it_is_cancelled(bus: Bus) -> None:
    """At a hundred moments spread over a dozen requests; Python 3.11's `wait_for` lost about half of these."""
    client = await bus.connect("admin")
    tasks = TaskGroup("test")
    loop = asyncio.get_running_loop()
    sent = moment = 0
    length = 0.0
    while sent < MOMENTS:
        taken: list[bool] = []
        began = loop.time()
        task = tasks.start(provision(client, NatsSettings()), "provision")
        timer = loop.call_later(length * moment / MOMENTS, _cancel, task, taken) if length else None
        await asyncio.wait({task})
        if timer:
            timer.cancel()
        if any(taken):
            sent, moment = sent + 1, moment + 1
            assert task.cancelled()
        else:  # it was done before its moment came: that is how long it takes just now
            assert task.exception() is None
            length, moment = loop.time() - began, moment % MOMENTS // 2


def _cancel(task: asyncio.Task[None], taken: list[bool]) -> None:
    taken.append(task.cancel())
