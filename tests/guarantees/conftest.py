"""One stack of real processes for the quick tests; each leaves it whole. The fault runner makes its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.guarantees.stack import Stack
from tests.guarantees.upstream import serving


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """NATS and the four services, ready, with an upstream behind them."""
    async with AsyncExitStack() as exit_stack:
        upstream = await exit_stack.enter_async_context(serving())
        yield await Stack(tmp_path_factory.mktemp("guarantees"), upstream, exit_stack).boot()
