"""Python 3.11 loses cancellations in nats-py; here it gets what Python 3.12 has.

nats-py waits for every reply with `asyncio.wait_for`. Until Python 3.12 that function returned the result where a
cancellation came in the same turn of the loop (https://github.com/python/cpython/issues/86296): about half of those
that a timer sends. What was cancelled then goes on: a stream under an ended grant, a start after SIGTERM.
"""

import asyncio
import sys
import types
from collections.abc import Awaitable
from typing import TypeVar

import nats.aio.client
import nats.aio.subscription
import nats.aio.transport
import nats.js.client
import nats.js.kv

T = TypeVar("T")

_MODULES = (nats.aio.client, nats.aio.subscription, nats.aio.transport, nats.js.client, nats.js.kv)


async def wait_for(future: Awaitable[T], timeout: float | None) -> T:
    """As Python 3.12's: raises TimeoutError after `timeout` seconds, and CancelledError whenever it is cancelled."""
    async with asyncio.timeout(timeout):
        return await future


def _asyncio() -> types.ModuleType:
    """The module `asyncio`, but for one function; a copy, for it is looked into with every message."""
    module = types.ModuleType("asyncio")
    vars(module).update(vars(asyncio), wait_for=wait_for)
    return module


def keep_cancellations() -> None:
    """Have nats-py wait as with Python 3.12; nothing to do there. Called where connections are made."""
    if sys.version_info < (3, 12):
        for module in _MODULES:
            module.asyncio = _asyncio()  # type: ignore[attr-defined]
