"""What an upstream gets of one attempt, and how long each step may take: once, and each side has its own time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from services.ingress.upstream.pool import paced
from services.runtime.settings.connectors import Timeouts
from tests.ingress.conftest import Gateway


@asynccontextmanager
async def forgetful() -> AsyncIterator[tuple[str, list[str]]]:
    """An upstream that answers the first request of a connection and breaks it on each later one, once it is read."""
    read: list[str] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((n for n in head.lower().split("\r\n") if n.startswith("content-length:")), ":0")
            await reader.readexactly(int(length.partition(":")[2]))
            read.append(head.partition(" HTTP")[0])
            if number:
                writer.transport.abort()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}", read
    finally:
        server.close()


async def test_an_attempt_reaches_the_upstream_once_though_a_kept_connection_breaks(gateway: Gateway) -> None:
    async with forgetful() as (url, read):
        await gateway.boot(connectors={"odd": {"upstream": url}})
        for method in ("DELETE", "PUT", "GET"):
            async with gateway.call("GET", "/odd/first") as reply:
                assert await reply.read() == b"ok"
            async with gateway.call(method, "/odd/second", data=b"5" if method == "PUT" else None) as reply:
                assert (reply.status, (await reply.json())["error"]["code"]) == (502, "upstream_reset")
    assert [request for request in read if request.endswith("second")] == [
        "DELETE /second",
        "PUT /second",
        "GET /second",
    ]


async def pieces(count: int, then: Awaitable[Any] | None = None) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"a" * 65536
    if then:
        await then


async def test_beyond_the_window_the_agents_own_fault_is_still_the_agents(gateway: Gateway) -> None:
    vendor = {"upstream": gateway.upstream.url, "max_body": "1MiB"}
    await gateway.boot(limits={"request_idle": "500ms"}, connectors={"vendor": vendor})
    for number, (body, status, code) in enumerate(
        ((pieces(40), 413, "too_large"), (pieces(8, asyncio.Event().wait()), 408, "body_timeout")), 1
    ):
        async with gateway.call("POST", "/vendor/x", data=body) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (status, code)
        assert (await gateway.outcome(number))["status"] == str(status)
    assert len(gateway.attempts) == 2  # both were judged: the window was full by then


async def test_the_first_byte_is_due_after_the_last_of_the_request() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(50) as limit:

        def left() -> float | None:
            return None if (end := limit.when()) is None else round(end - loop.time(), -2)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(2):
                assert left() is None  # how long the agent may take is not for the upstream's limit to say
                yield b"piece"

        with paced(body(), limit, Timeouts(first_byte=1000, idle=300)) as sent:
            async for _ in sent:
                assert left() == 300
            assert left() == 1000
        with paced(pieces(2), limit, Timeouts(first_byte=1000, idle=300)) as sent:
            await anext(sent)
        await anext(sent)  # the reply has come meanwhile
        assert left() == 300


async def test_a_wait_for_a_free_connection_ends_and_says_why(gateway: Gateway) -> None:
    briefly = {"connect": "200ms", "first_byte": "20s", "idle": "20s"}
    await gateway.boot(connectors={"vendor": {"upstream": gateway.upstream.url, "pool": 1, "timeouts": briefly}})
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def hang(_request: web.Request, _body: bytes) -> web.Response:
        arrived.set()
        await answer.wait()
        return web.Response()

    gateway.upstream.answer = hang
    first = asyncio.ensure_future(gateway.call("GET", "/vendor/x").__aenter__())
    await arrived.wait()
    async with gateway.call("GET", "/vendor/y") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (503, "upstream_busy")
        assert reply.headers["Retry-After"] == "1"
    answer.set()
    async with await first as reply:
        assert reply.status == 200
    assert len(gateway.upstream.seen) == 1
