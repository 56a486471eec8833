"""The vendor behind the gateway: remembers every request by the nonce its sender gave it, and hangs when told to.

A request is `POST /<what>/<nonce>` with the nonce in the body, too: what arrives is told apart from what was sent
however it was lost, doubled or mixed up on the way.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Upstream:
    """A server in the test's own process: it outlives whatever the test kills."""

    url: str = ""
    #: How often each nonce arrived.
    received: Counter[str] = field(default_factory=Counter)
    #: Nonces in the order in which they arrived.
    order: list[str] = field(default_factory=list)
    #: Requests whose body did not carry the nonce of their path.
    mixed_up: list[str] = field(default_factory=list)
    #: `Authorization` as it arrived.
    credentials: Counter[str] = field(default_factory=Counter)
    #: Clear to keep every request waiting, set to let them go.
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: int = 0
    #: Query parameters as they arrived, where there were any.
    queries: list[dict[str, str]] = field(default_factory=list)
    #: Answers instead, when a test sets it.
    answer: Callable[[web.Request], web.StreamResponse] | None = None

    def __post_init__(self) -> None:
        self.answering.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        nonce = request.path.rpartition("/")[2]
        self.received[nonce] += 1
        self.order.append(nonce)
        self.credentials[request.headers.get("Authorization", "")] += 1
        body = await request.text()
        if nonce not in body:
            self.mixed_up.append(nonce)
        if request.query:
            self.queries.append(dict(request.query))
        if self.answer:
            return self.answer(request)
        self.hanging += 1
        try:
            await self.answering.wait()
        finally:
            self.hanging -= 1
        return web.json_response({"nonce": nonce, "status": "done"})


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    """A running upstream on a free port."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    upstream.url = f"http://{host}:{port}"
    try:
        yield upstream
    finally:
        upstream.answering.set()
        await runner.cleanup()
