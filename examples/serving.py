"""Serve an aiohttp application on loopback, in a program of its own or beside others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    """Yields the base address while it is served."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def serve(app: web.Application, port: int) -> None:
    """Serve until interrupted; prints the address."""
    async with serving(app, port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()
