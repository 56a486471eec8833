"""A cancellation that meets an answer of the bus is not lost."""

import asyncio

from services.runtime.nats.provision import provision
from services.runtime.settings.model import NatsSettings
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus

MOMENTS = 100


async def test_what_talks_to_the_bus_ends_whenever_it_is_cancelled(bus: Bus) -> None:
    """At a hundred moments spread over a few requests; Python 3.11's `wait_for` lost about half of these."""
    client = await bus.connect("admin")
    tasks = TaskGroup("test")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await provision(client, NatsSettings())
    length = loop.time() - began
    for moment in range(MOMENTS):
        task = tasks.start(provision(client, NatsSettings()), "provision")
        loop.call_later(length * moment / MOMENTS / 2, task.cancel)
        await asyncio.wait({task})
        assert task.cancelled()
