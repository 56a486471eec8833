"""Real parts for every test: an embedded NATS with its streams, and connections in each service's role."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from nats.aio.client import Client

from services.runtime.data_dir import DataDir
from services.runtime.nats.client import BusAddress, close, connect
from services.runtime.nats.permissions import Role
from services.runtime.nats.provision import provision
from services.runtime.nats.server import EmbeddedNats, passwords
from services.runtime.settings.model import NatsSettings

# On a machine whose cores are shared the time that one example took says nothing. `settings.default` is hypothesis's
# own `ci` profile where the variable CI is set (.ci/run): the same examples each time, so that no change is refused
# for what an earlier one did. Everywhere else new ones are drawn.
settings.register_profile("shared", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and `countersign up` honours that; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: Of each stream in tests, whatever the disk has left.
SMALL = 256 * 1024**2


async def until(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Poll until `condition()` (or what it returns, awaited) is truthy; the deadline only ends a failing test."""
    async with asyncio.timeout(timeout):
        while True:
            result = condition()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return result
            await asyncio.sleep(0.01)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A fresh data directory."""
    return DataDir(tmp_path / "data")


class Bus:
    """A running NATS and connections to it, closed at the end of the test."""

    def __init__(self, server: EmbeddedNats, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self._passwords = passwords(server.data)

    def address(self, role: Role) -> BusAddress:
        return BusAddress(role, (self.server.url,), role, self._passwords[role])

    async def connect(self, role: Role, **callbacks: Any) -> Client:
        client = await connect(self.address(role), **callbacks)
        self._stack.push_async_callback(close, client)
        return client


@pytest.fixture
async def bus(data: DataDir) -> AsyncIterator[Bus]:
    """NATS with streams, buckets and a user per service."""
    server = EmbeddedNats(data)
    await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        bus = Bus(server, stack)
        admin = await bus.connect("admin")
        await provision(admin, NatsSettings(max_bytes=SMALL))
        yield bus
