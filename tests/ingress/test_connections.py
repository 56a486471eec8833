"""What one connection may cost, and what strangers may cost together (G10)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
from aiohttp import web

from tests.conftest import until
from tests.ingress.conftest import Gateway

STRANGER = b"GET /vendor/x HTTP/1.1\r\nHost: g\r\n\r\n"


@asynccontextmanager
async def connected(gateway: Gateway, data: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    try:
        writer.write(data)
        yield reader
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def told(gateway: Gateway) -> int:
    return sum(len(gateway.events(kind)) for kind in ("SessionOpened", "SessionClosed", "OperationFinished"))


async def test_strangers_cannot_flood_the_record_however_they_connect(gateway: Gateway) -> None:
    await gateway.boot(limits={"refusals_per_second": 5, "outbox": 10})
    for _ in range(60):
        async with connected(gateway, STRANGER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as reader:
            assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.status == 200
    await until(lambda: any(e["outcome"] == "forwarded" for e in gateway.events("OperationFinished")))
    assert told(gateway) < 100  # 180 if each were told; a slow machine gives some seconds' worth
    await gateway.bus.server.kill()
    assert gateway.ingress
    for _ in range(20):  # however long the bus is away, what waits for it has its limit
        gateway.ingress.parts.refusals._tokens = 5.0
        async with gateway.call("GET", "/vendor/x", token=None) as reply:
            assert reply.status in (401, 503)
    assert gateway.ingress.parts.emitter.backlog <= 12
    await gateway.bus.server.start()


async def test_a_page_admits_before_it_reads_and_does_not_wait_for_a_body(gateway: Gateway) -> None:
    await gateway.boot(limits={"request_idle": "200ms"})
    decision = "/-/approvals/00000000-0000-0000-0000-000000000000/approve"
    head = f"POST {decision} HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n"
    for token, status in (("", b"401"), (f"Authorization: Bearer {gateway.token()}\r\n", b"408")):
        async with connected(gateway, f"{head}{token}\r\n".encode()) as reader:
            answer = await reader.read()  # to the end of the connection
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert b"connection: close" in answer.lower()
    assert [event["refusal"]["code"] for event in gateway.events("OperationFinished")][:1] == ["unauthenticated"]


async def test_strangers_push_out_each_other_and_no_agent(gateway: Gateway) -> None:
    await gateway.boot(limits={"connections": 4})
    async with gateway.call("GET", "/vendor/x") as reply:  # its connection is kept
        await reply.read()
    async with AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(connected(gateway)) for _ in range(3)]
        late_agent = await stack.enter_async_context(aiohttp.ClientSession())
        fields = {"Authorization": f"Bearer {gateway.token()}"}
        async with late_agent.get(gateway.url + "/vendor/x", headers=fields) as reply:
            assert reply.status == 200
        assert (await strangers[0].read()).startswith(b"HTTP/1.1 503 ")
        assert not strangers[1].at_eof()
        async with gateway.call("GET", "/vendor/x") as reply:
            assert reply.status == 200
    assert len({attempt.session_id for attempt in gateway.attempts}) == 2


async def test_an_agent_that_does_not_read_loses_its_connection_and_frees_the_upstreams(gateway: Gateway) -> None:
    timeouts = {"connect": "20s", "first_byte": "60s", "idle": "300ms"}
    await gateway.boot(connectors={"vendor": {"upstream": gateway.upstream.url, "pool": 1, "timeouts": timeouts}})

    async def endless(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    gateway.upstream.answer = endless
    request = STRANGER[:-2] + f"Authorization: Bearer {gateway.token()}\r\n\r\n".encode()
    async with connected(gateway, request):
        outcome = await gateway.outcome()
        assert (outcome["outcome"], outcome["error"]) == ("failed", "the agent does not read")
        gateway.upstream.answer = None
        async with gateway.call("GET", "/vendor/other") as reply:
            assert reply.status == 200
