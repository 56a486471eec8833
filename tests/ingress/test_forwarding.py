"""What passes, and in which form: the reverse proxy seen from both sides."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.runtime.identity.claims import expiry
from services.runtime.identity.envelope import open_envelope
from services.runtime.identity.local import LOCAL_SETTINGS
from tests.conftest import until
from tests.ingress.conftest import CREDENTIAL, Gateway


async def test_a_post_is_judged_recorded_and_forwarded(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.call("POST", "/vendor/v1/things?a=1&b=%20x", data=b'{"n": 1}') as reply:
        assert reply.status == 200
        body = await reply.json()
        operation = reply.headers["Countersign-Operation"]
    assert body == {"method": "POST", "path": "/v1/things?a=1&b=%20x", "body": '{"n": 1}'}
    seen = gateway.upstream.seen[0]
    assert seen.headers["Authorization"] == f"Bearer {CREDENTIAL}"
    outcome = await gateway.outcome()
    assert outcome["operation_id"] == operation == gateway.attempts[0].operation_id
    assert (outcome["outcome"], outcome["status"], outcome["rules"]) == ("forwarded", "200", ["allow-all"])
    attempt = gateway.attempts[0]
    assert (attempt.operation.action, attempt.operation.path) == ("http.post", "/v1/things")
    assert attempt.operation.query == {"a": "1", "b": " x"}
    assert attempt.operation.statement == '{"n": 1}'
    assert attempt.identity.subject == "agent-7"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST", "PURGE"])
async def test_every_method_passes(gateway: Gateway, method: str) -> None:
    await gateway.boot()
    async with gateway.call(method, "/vendor/x") as reply:
        assert (await reply.json())["method"] == method
    assert gateway.attempts[0].operation.action == f"http.{method.lower()}"


async def test_head_has_the_length_and_no_body(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.upstream.answer = lambda _r, _b: web.Response(body=b"x" * 1234)
    async with gateway.call("HEAD", "/vendor/x") as reply:
        assert reply.headers["Content-Length"] == "1234"
        assert await reply.read() == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_replies_without_content(gateway: Gateway, status: int) -> None:
    await gateway.boot()
    gateway.upstream.answer = lambda _r, _b: web.Response(status=status, headers={"ETag": '"x"'})
    for _ in range(2):  # the connection stays usable
        async with gateway.call("GET", "/vendor/x") as reply:
            assert (reply.status, await reply.read(), reply.headers["ETag"]) == (status, b"", '"x"')


async def test_a_large_body_streams_both_ways(gateway: Gateway) -> None:
    await gateway.boot()
    size = 20 * 1024 * 1024

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield b"a" * 65536

    async def echo(request: web.Request, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(data), 100_000):
            await response.write(data[start : start + 100_000])
        return response

    gateway.upstream.answer = echo
    async with gateway.call("POST", "/vendor/x", data=body()) as reply:
        received = await reply.read()
    assert len(received) == size
    outcome = await gateway.outcome()
    assert (outcome["request_bytes"], outcome["response_bytes"]) == (size, size)
    assert gateway.attempts[0].operation.complete is False


async def test_hop_by_hop_and_own_fields_do_not_pass(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.upstream.answer = lambda _r, _b: web.Response(
        headers={"X-Hop": "1", "Connection": "X-Hop", "Keep-Alive": "timeout=5", "Countersign-Fake": "1", "X-Kept": "1"}
    )
    sent = {
        "X-Secret-Hop": "1",
        "Connection": "X-Secret-Hop",
        "Countersign-Reason": "why",
        "Proxy-Authorization": "x",
        "X-Forwarded-For": "1.2.3.4",
        "X-Kept": "yes",
        "X-Api-Key": "theirs",
        "TE": "trailers",
    }
    async with gateway.call("GET", "/vendor/x", headers=sent) as reply:
        assert "X-Hop" not in reply.headers
        assert "Countersign-Fake" not in reply.headers
        assert reply.headers["X-Kept"] == "1"
    passed = {name.lower() for name in gateway.upstream.seen[0].headers}
    assert "x-kept" in passed
    assert not passed & {name.lower() for name in sent if name not in {"X-Kept", "Connection"}}
    assert gateway.attempts[0].asked.reason == "why"


async def test_redirects_and_cookies_stay_within_the_gateway(gateway: Gateway) -> None:
    await gateway.boot()

    def answer(_request: web.Request, _body: bytes) -> web.Response:
        response = web.Response(status=302, headers={"Location": f"{gateway.upstream.url}/login?next=1"})
        response.headers.add("Set-Cookie", "sid=1; Path=/app; Domain=vendor.example; HttpOnly")
        return response

    gateway.upstream.answer = answer
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.headers["Location"] == "/vendor/login?next=1"
        assert reply.headers["Set-Cookie"] == "sid=1; HttpOnly; Path=/vendor/app"


async def test_a_compressed_reply_passes_and_is_recorded_readable(gateway: Gateway) -> None:
    await gateway.boot()
    packed = gzip.compress(b"hello, hello, hello")
    gateway.upstream.answer = lambda _r, _b: web.Response(
        body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    )
    async with gateway.call("GET", "/vendor/x", headers={"Accept-Encoding": "br, gzip"}) as reply:
        assert await reply.read() == packed
    assert gateway.upstream.seen[0].headers["Accept-Encoding"] == "gzip"
    await until(lambda: gateway.events("SessionFrame"))
    assert gateway.events("SessionFrame")[0]["data"] == "hello, hello, hello"


async def test_a_credential_in_the_query_replaces_what_the_agent_sent(gateway: Gateway) -> None:
    connector = {"upstream": gateway.upstream.url, "inject": {"query": "key", "value": "s3 cret&"}}
    await gateway.boot(connectors={"vendor": connector})
    async with gateway.call("GET", "/vendor/x?key=mine&%6bey=too&q=1") as reply:
        assert reply.status == 200
    assert gateway.upstream.seen[0].query.getall("key") == ["s3 cret&"]
    assert gateway.upstream.seen[0].query["q"] == "1"


async def test_traceparent_is_carried_from_the_agent_to_events_and_upstream(gateway: Gateway) -> None:
    await gateway.boot()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with gateway.call("GET", "/vendor/x", headers={"traceparent": trace}) as reply:
        assert reply.status == 200
    assert gateway.upstream.seen[0].headers["traceparent"] == trace
    assert (await gateway.outcome())["traceparent"] == gateway.attempts[0].traceparent == trace


async def test_expect_continue_asks_for_the_body_only_when_it_is_wanted(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.call("POST", "/vendor/x", data=b"later", expect100=True) as reply:
        assert (await reply.json())["body"] == "later"
    async with gateway.call("POST", "/vendor/x", token="bad", data=b"never", expect100=True) as reply:
        assert reply.status == 401
    assert len(gateway.upstream.seen) == 1


async def test_a_disconnecting_agent_cancels_the_upstream_call(gateway: Gateway) -> None:
    await gateway.boot()
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request, _body: bytes) -> web.Response:
        arrived.set()
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        cancelled.set()
        return web.Response()

    gateway.upstream.answer = hang
    call = asyncio.ensure_future(gateway.call("GET", "/vendor/x").__aenter__())
    await asyncio.wait_for(arrived.wait(), 60)
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 60)
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["error"]) == ("failed", "the agent disconnected")


async def test_a_websocket_is_relayed_when_a_rule_allows_it(gateway: Gateway) -> None:
    await gateway.boot()

    async def echo(request: web.Request, _body: bytes) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    gateway.upstream.answer = echo
    assert gateway.http
    fields = {"Authorization": f"Bearer {gateway.token()}"}
    async with gateway.http.ws_connect(gateway.url + "/vendor/live", headers=fields, protocols=("chat",)) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        assert socket.protocol == "chat"
    assert gateway.attempts[0].operation.action == "http.websocket"
    assert (await gateway.outcome())["status"] == "101"
    assert [f["data"] for f in gateway.events("SessionFrame")] == ["hello", "HELLO"]


async def test_a_websocket_ends_with_its_token(gateway: Gateway) -> None:
    await gateway.boot()
    token = gateway.token()
    assert gateway.ingress
    late = expiry(open_envelope(token).claims) + LOCAL_SETTINGS.leeway - 0.5
    gateway.ingress.verifier._clock = lambda: late  # it is good for half a second more

    async def patient(request: web.Request, _body: bytes) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    gateway.upstream.answer = patient
    assert gateway.http
    async with gateway.http.ws_connect(
        gateway.url + "/vendor/live", headers={"Authorization": f"Bearer {token}"}
    ) as socket:
        assert (await socket.receive(timeout=60)).data == 1008
    assert (await gateway.outcome())["error"] == "the token has expired"


async def test_an_upstream_that_wants_no_websocket_is_quoted(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.upstream.answer = lambda _request, _body: web.Response(status=403)
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    async with gateway.call("GET", "/vendor/x", headers={**fields, "Sec-WebSocket-Key": "AA" * 11 + "=="}) as reply:
        assert reply.status == 502
        assert (await reply.json())["detail"] == "the upstream refused the upgrade (403)"
