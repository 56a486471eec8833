"""Bad input and dead parts: what the agent is told, that nothing is forwarded, and that it is recorded (G1, G3)."""

import asyncio
import base64
import hmac
import json
import time
from pathlib import Path

import pytest
from aiohttp import web
from nats.js.api import StreamConfig

from schemas import subjects
from schemas.verdicts import Decision, Verdict
from tests.conftest import until
from tests.ingress.conftest import BRIEFLY, CREDENTIAL, Gateway


async def raw(gateway: Gateway, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes as they are; read until the gateway closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    if half_close:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


def unsigned(gateway: Gateway, header: dict[str, object]) -> str:
    return ".".join([encoded(header), gateway.token().split(".")[1], ""])


def encoded(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def signed_with_public_key(gateway: Gateway) -> str:
    """HS256 with the public key as the secret: the classic confusion (RFC 8725, section 2.1)."""
    published = next(Path(gateway.data.keys).glob("*pub*"))
    claims = {"iss": "countersign-local", "sub": "agent", "aud": "countersign", "exp": int(time.time()) + 60}
    signed = f"{encoded({'alg': 'HS256'})}.{encoded(claims)}"
    mac = hmac.digest(published.read_bytes(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


TOKENS = {
    "none": lambda gateway: None,
    "garbage": lambda gateway: "garbage",
    "alg-none": lambda gateway: unsigned(gateway, {"alg": "none"}),
    "hs256": signed_with_public_key,
    "tampered": lambda gateway: gateway.token()[:-4] + "AAAA",
}


@pytest.mark.parametrize("kind", TOKENS)
async def test_without_a_valid_token_the_answer_is_401(gateway: Gateway, kind: str) -> None:
    await gateway.boot()
    token = TOKENS[kind](gateway)
    async with gateway.call("GET", "/vendor/x", token=token) as reply:
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith("Bearer ")
        assert reply.content_type == "application/problem+json"
        assert (await reply.json())["error"]["type"] == "countersign"
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["status"]) == ("denied", "401")
    assert outcome["refusal"]["statement"] == "GET /vendor/x"
    assert gateway.upstream.seen == []
    if token:
        assert token.encode() not in b"".join(gateway.raw)


async def test_an_unknown_connector_is_404_and_strangers_learn_nothing(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.call("GET", "/nope/x", token=None) as reply:
        assert reply.status == 401
        assert "vendor" not in await reply.text()
    async with gateway.call("GET", "/nope/x") as reply:
        assert (reply.status, "vendor" in await reply.text()) == (404, True)
    async with gateway.call("GET", "/nope/x", token=gateway.token(connector="other")) as reply:
        assert (reply.status, "vendor" in await reply.text()) == (404, False)


async def test_a_token_for_one_connector_opens_no_other(gateway: Gateway) -> None:
    await gateway.boot()
    async with gateway.call("GET", "/vendor/x", token=gateway.token(connector="other")) as reply:
        assert (reply.status, (await reply.json())["rule"]) == (403, "token-scope")
    async with gateway.call("GET", "/vendor/x", token=gateway.token(connector="vendor")) as reply:
        assert reply.status == 200


async def test_a_denial_has_the_rules_words_and_the_connection_goes_on(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = lambda _: Verdict(decision=Decision.DENY, rules=("never-refund",), reason="Refunds are not yours")
    for _ in range(2):
        async with gateway.call("POST", "/vendor/refunds", data=b"{}") as reply:
            body = await reply.json()
            assert reply.status == 403
            assert reply.headers["X-Should-Retry"] == "false"
    assert body["detail"] == "Refunds are not yours"
    assert body["rule"] == "never-refund"
    assert body["error"] == {
        "message": "Refunds are not yours (rule: never-refund)",
        "type": "countersign",
        "code": "denied",
    }
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["rules"]) == ("denied", ["never-refund"])
    assert gateway.upstream.seen == []
    assert len({attempt.session_id for attempt in gateway.attempts}) == 1


async def test_a_silent_policy_means_503_and_a_late_verdict_is_ignored(gateway: Gateway) -> None:
    await gateway.boot(limits=BRIEFLY)
    gateway.decide = lambda _: None
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.status == 503
        assert (await reply.json())["error"]["code"] == "no_verdict"
    await until(lambda: gateway.attempts)
    await gateway.verdict(gateway.attempts[0], Verdict(decision=Decision.ALLOW))
    outcome = await gateway.outcome()
    assert (outcome["outcome"], gateway.upstream.seen) == ("denied", [])


async def test_a_full_audit_stream_means_503_and_it_recovers(gateway: Gateway) -> None:
    await gateway.boot()
    jetstream = (await gateway.bus.connect("admin")).jetstream()
    config = (await jetstream.stream_info(subjects.AUDIT_STREAM)).config
    await jetstream.update_stream(StreamConfig(**{**vars(config), "max_msgs": 1}))
    await jetstream.purge_stream(subjects.AUDIT_STREAM)
    await jetstream.publish("cs.outcome.http.filler", b"{}")
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.status == 503
    assert gateway.upstream.seen == []
    await jetstream.update_stream(config)
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.status == 200


async def test_a_dead_bus_means_503_and_it_recovers(gateway: Gateway) -> None:
    await gateway.boot(limits={"verdict_timeout": "2s"})
    await gateway.bus.server.kill()
    async with gateway.call("GET", "/vendor/x") as reply:
        assert reply.status == 503
    assert gateway.upstream.seen == []
    await gateway.bus.server.start()
    assert gateway.ingress

    async def served() -> bool:
        async with gateway.call("GET", "/vendor/x") as reply:
            return reply.status == 200

    await until(served)


MALFORMED = {
    "both lengths": b"POST /vendor/x HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /vendor/x HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "bad length": b"POST /vendor/x HTTP/1.1\r\nHost: g\r\nContent-Length: +3\r\n\r\nabc",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello there\r\n\r\n",
    "bad field": b"GET /vendor/x HTTP/1.1\r\nHost: g\r\nBad Field: 1\r\n\r\n",
    "folded field": b"GET /vendor/x HTTP/1.1\r\nHost: g\r\nX: 1\r\n 2\r\n\r\n",
    "header bomb": b"GET /vendor/x HTTP/1.1\r\nHost: g\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET /vendor/x HTTP/1.1\r\nHost: g\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "long target": b"GET /vendor/" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_broken_framing_is_refused_recorded_and_closed(gateway: Gateway, case: str) -> None:
    await gateway.boot()
    answer = await raw(gateway, MALFORMED[case])
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:100]
    assert b"application/problem+json" in answer
    assert answer.count(b"Content-Type:") == 1
    assert (await gateway.outcome())["refusal"]["code"] in ("malformed", "headers_too_large")
    assert gateway.upstream.seen == []


TARGETS = [
    "http://evil.example/vendor/x",
    "/vendor/../secret",
    "/vendor/%2e%2e/secret",
    "/vendor/a%2fb",
    "/vendor/a\\b",
    "/vendor/%00",
    "//vendor/x",
    "/vendor/%zz",
    "/vendor/..;/x",
    "/vendor/v1/%61dmin",
    "/vendor/v1/a%2Dmin",
    "/vendor/%7Eadmin",
    "/vendor//admin",
    "/Vendor/x",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_ambiguous_targets_are_refused(gateway: Gateway, target: str) -> None:
    await gateway.boot()
    head = f"GET {target} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {gateway.token()}\r\n\r\n"
    answer = await raw(gateway, head.encode())
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert (await gateway.outcome())["outcome"] == "denied"
    assert gateway.upstream.seen == []


async def test_a_slow_loris_loses_its_connection(gateway: Gateway) -> None:
    await gateway.boot(limits={"request_head": "200ms"})
    answer = await raw(gateway, b"GET /vendor/x HTTP/1.1\r\nHost: g\r\nX-Slow: ")
    assert answer.startswith(b"HTTP/1.1 408")
    assert (await gateway.outcome())["refusal"]["code"] == "head_timeout"


async def test_a_body_that_trickles_or_is_too_large_is_refused(gateway: Gateway) -> None:
    await gateway.boot(
        limits={"request_idle": "200ms"},
        connectors={"vendor": {"upstream": gateway.upstream.url, "max_body": "1KiB"}},
    )
    token = gateway.token()
    head = f"POST /vendor/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
    answer = await raw(gateway, head.encode() + b"Content-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408")
    answer = await raw(gateway, head.encode() + b"Content-Length: 2000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    answer = await raw(gateway, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert gateway.upstream.seen == []


async def test_an_upstream_that_refuses_resets_hangs_or_babbles(gateway: Gateway) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"reset" in line:
            writer.transport.abort()
        elif b"babble" in line:
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            writer.close()
        elif b"hang" in line:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    briefly = {"connect": "20s", "first_byte": "300ms", "idle": "300ms"}
    await gateway.boot(
        connectors={
            "odd": {"upstream": f"http://{host}:{port}"},
            "mute": {"upstream": f"http://{host}:{port}", "timeouts": briefly},
            "closed": {"upstream": "http://127.0.0.1:1"},
        }
    )
    expected = [
        ("/closed/x", 502, "upstream_refused"),
        ("/odd/reset", 502, "upstream_reset"),
        ("/odd/babble", 502, "upstream_garbage"),
        ("/mute/hang", 504, "upstream_timeout"),
    ]
    for number, (path, status, code) in enumerate(expected, 1):
        async with gateway.call("GET", path) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (status, code)
        outcome = await gateway.outcome(number)
        assert (outcome["outcome"], outcome["status"]) == ("failed", str(status))
        assert outcome["error"]
    server.close()


async def test_a_reply_that_breaks_off_breaks_off_for_the_agent_too(gateway: Gateway) -> None:
    await gateway.boot()

    async def half(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it")
        assert request.transport
        request.transport.abort()
        return response

    gateway.upstream.answer = half
    with pytest.raises(Exception, match=r"(?i)payload|disconnected|closed|reset"):
        async with gateway.call("GET", "/vendor/x") as reply:
            await reply.read()
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["error"]) == ("failed", "the upstream's reply broke off")


async def test_the_credential_is_nowhere_but_at_the_upstream(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    await gateway.boot()
    shown: list[bytes] = []
    for method, path in (("POST", "/vendor/x"), ("GET", "/vendor/%2e%2e"), ("GET", "/-/metrics"), ("GET", "/none/x")):
        async with gateway.call(method, path, data=b"body" if method == "POST" else None) as reply:
            shown += [await reply.read(), str(reply.headers).encode()]
    await gateway.outcome(3)
    assert gateway.upstream.seen[0].headers["Authorization"] == f"Bearer {CREDENTIAL}"
    everything = b"".join(gateway.raw) + caplog.text.encode() + repr(gateway.ingress).encode()
    assert CREDENTIAL.encode() not in everything
    assert gateway.token().encode() not in everything
    assert all(CREDENTIAL.encode() not in each.replace(b"\\", b"") for each in shown if b'"path"' not in each)


async def test_detected_secrets_are_recorded_masked_with_a_keyed_hash(gateway: Gateway) -> None:
    await gateway.boot()
    secret, address = "AKIAIOSFODNN7EXAMPLQ", "ada.lovelace@analytical.example"
    body = json.dumps({"note": f"key {secret}", "to": address}).encode()
    async with gateway.call("POST", f"/vendor/x?contact={address}", data=body) as reply:
        assert address in await reply.text()
    await gateway.outcome()
    await until(lambda: gateway.events("SessionFrame"))
    everything = b"".join(gateway.raw)
    assert secret.encode() not in everything
    assert address.encode() not in everything
    assert gateway.attempts[0].findings["EMAIL"] == 2
    assert "EMAIL#" in gateway.attempts[0].operation.statement


@pytest.mark.parametrize("charset", ["punycode", "utf-16", "utf-7", "idna", "unicode_escape", "rot13", "no-such"])
async def test_a_declared_charset_hides_nothing(gateway: Gateway, charset: str) -> None:
    await gateway.boot()
    secret = "AKIAIOSFODNN7EXAMPLQ"
    fields = {"Content-Type": f"application/json; charset={charset}"}
    body = json.dumps({"key": secret, "note": "even "}).encode()
    async with gateway.call("POST", "/vendor/x", data=body, headers=fields) as reply:
        assert reply.status == 200
    assert gateway.attempts[0].findings == {"AWS_ACCESS_KEY_ID": 1}
    await gateway.outcome()
    assert secret.encode() not in b"".join(gateway.raw)
