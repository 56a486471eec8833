"""Masks that rules ask for, through a running gateway: both ways, restored, refused, and never in the record."""

import gzip
import json
import random
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from yarl import URL

from schemas.events import OperationAttempted
from schemas.verdicts import Decision, MaskObligation, Obligations, Verdict
from services.ingress.content import Content
from services.ingress.inspection import mask_failed
from services.ingress.masking.errors import MaskingError
from services.ingress.recorded_content import Recorded
from tests.conftest import until
from tests.ingress.conftest import Gateway

ADDRESS, KEY = "ada.lovelace@analytical.example", "AKIAIOSFODNN7EXAMPLQ"


def masking(**mask: Any) -> Any:
    def decide(_: OperationAttempted) -> Verdict:
        obligations = Obligations(mask=MaskObligation(**mask))
        return Verdict(decision=Decision.ALLOW, rules=("masked",), policy_version="v1", obligations=obligations)

    return decide


async def send(gateway: Gateway, body: Any, path: str = "/vendor/x") -> tuple[int, Any]:
    async with gateway.call("POST", path, json=body) as reply:
        return reply.status, await reply.json()


async def test_tokens_stand_for_values_until_a_rule_restores_them(gateway: Gateway) -> None:
    """The agent joins on a placeholder it got from one call, and the vendor it may tell gets the value."""
    await gateway.boot()
    gateway.upstream.answer = lambda _r, _b: web.json_response({"customer": ADDRESS})
    gateway.decide = masking(response=("pii",), style="token")
    _, seen = await send(gateway, {})
    token = seen["customer"]
    assert token.startswith("EMAIL_")
    gateway.decide = masking(restore=True)
    await send(gateway, {"to": token}, f"/vendor/mail?to={token}")
    assert json.loads(gateway.upstream.bodies[-1]) == {"to": ADDRESS}
    assert gateway.upstream.seen[-1].query["to"] == ADDRESS
    gateway.decide = masking()
    await send(gateway, {"to": token})
    assert json.loads(gateway.upstream.bodies[-1]) == {"to": token}
    await gateway.outcome(3)
    assert ADDRESS.encode() not in b"".join(gateway.raw)


async def test_a_request_is_masked_in_body_path_and_query(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = masking(request=("pii", "secrets"))
    status, _ = await send(gateway, {"a": ADDRESS, "k": KEY, "n": 7}, f"/vendor/u/{ADDRESS}?q={ADDRESS}")
    assert status == 200
    sent = json.loads(gateway.upstream.bodies[0])
    assert sent == {"a": "[EMAIL]", "k": "[AWS_ACCESS_KEY_ID]", "n": 7}
    assert ADDRESS not in gateway.upstream.seen[0].path_qs
    outcome = await gateway.outcome()
    assert outcome["masked"]["request.EMAIL"] >= 1


async def test_an_encoded_path_is_masked_counted_and_recorded_as_it_reads(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = masking(request=("pii",))
    encoded = ADDRESS.replace("@", "%40")
    url = URL(f"{gateway.url}/vendor/a%20b/{encoded}?q={encoded}", encoded=True)
    assert gateway.http
    async with gateway.http.get(url, headers={"Authorization": f"Bearer {gateway.token()}"}) as reply:
        assert reply.status == 200
    assert gateway.upstream.seen[0].raw_path == "/a%20b/%5BEMAIL%5D?q=%5BEMAIL%5D"
    attempt = gateway.attempts[0]
    assert attempt.operation.path.startswith("/a%20b/EMAIL#")
    assert attempt.findings == {"EMAIL": 2}
    assert (await gateway.outcome())["masked"] == {"request.EMAIL": 2}
    assert not [raw for raw in gateway.raw if b"ada.lovelace" in raw]


async def test_header_fields_are_masked_both_ways_and_count_as_findings(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = masking(request=("pii", "secrets"), response=("pii", "secrets"), style="token")
    quoted = ADDRESS.replace("@", "%40")
    answered = {"Location": f"https://elsewhere.example/?to={quoted}", "X-User": ADDRESS, "X-Plain": "as it was"}
    gateway.upstream.answer = lambda *_: web.Response(status=302, reason=ADDRESS, headers=answered)
    asked = {"X-Customer": ADDRESS, "Cookie": f"key={KEY}; theme=dark", "Referer": f"https://a/?mail={quoted}"}
    async with gateway.call("HEAD", "/vendor/x", headers=asked) as reply:
        assert reply.status == 302
        user, location = reply.headers["X-User"], reply.headers["Location"]
        assert reply.headers["X-Plain"] == "as it was"
        assert (user.startswith("EMAIL_"), user in location) == (True, True)
        assert ADDRESS not in f"{reply.reason}{reply.headers}"
    sent = gateway.upstream.seen[0].headers
    assert sent["X-Customer"] == user
    assert user in sent["Referer"]
    assert sent["Cookie"].endswith("; theme=dark")
    assert not [name for name, value in sent.items() if KEY in value or "lovelace" in value]
    assert gateway.attempts[0].findings == {"EMAIL": 2, "AWS_ACCESS_KEY_ID": 1}
    counts = {"request.EMAIL": 2, "request.AWS_ACCESS_KEY_ID": 1, "response.EMAIL": 2}
    assert (await gateway.outcome())["masked"] == counts
    assert not [raw for raw in gateway.raw if KEY.encode() in raw or b"lovelace" in raw]
    gateway.upstream.answer = None
    gateway.decide = masking(restore=True)  # the placeholder was stored before it went out
    await send(gateway, {"to": user})
    assert json.loads(gateway.upstream.bodies[-1]) == {"to": ADDRESS}


async def test_an_unknown_entity_stops_the_request_before_it_is_sent(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = masking(response=("EMIAL",))
    status, body = await send(gateway, {})
    assert (status, body["error"]["code"]) == (403, "mask_failed")
    assert gateway.upstream.seen == []


async def test_patterns_and_deny_words_of_ones_own(gateway: Gateway) -> None:
    await gateway.boot(masking={"patterns": {"EMPLOYEE_ID": r"E-\d{6}"}, "deny_words": ["bluebird"]})
    gateway.decide = masking(request=("EMPLOYEE_ID", "DENY_WORD"))
    await send(gateway, {"who": "E-123456", "project": "Bluebird"})
    assert json.loads(gateway.upstream.bodies[0]) == {"who": "[EMPLOYEE_ID]", "project": "[DENY_WORD]"}
    assert gateway.attempts[0].findings == {"EMPLOYEE_ID": 1, "DENY_WORD": 1}


async def test_findings_per_role_are_facts_for_policy(gateway: Gateway) -> None:
    await gateway.boot()
    messages = [{"role": "system", "content": "help"}, {"role": "user", "content": f"my key is {KEY}"}]
    await send(gateway, {"model": "m", "messages": messages}, "/vendor/v1/chat/completions")
    operation = gateway.attempts[0].operation
    assert operation.action == "llm.chat"
    assert operation.attributes["findings_by_role"] == {"user": {"AWS_ACCESS_KEY_ID": 1}}


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_a_body_beyond_the_window_is_masked_as_it_comes(gateway: Gateway, coding: str) -> None:
    await gateway.boot(limits={"inspection_window": 1000})
    gateway.decide = masking(request=("pii",), style="token")
    noise = "".join(random.Random(1).choices("abcdefghij \u00e9", k=300_000))
    body = json.dumps({"model": "m", "messages": [{"content": f"{ADDRESS} {noise} {ADDRESS}"}]}, ensure_ascii=False)
    data = gzip.compress(body.encode()) if coding else body.encode()
    fields = {"Content-Type": "application/json", "Content-MD5": "x"} | ({"Content-Encoding": coding} if coding else {})
    async with gateway.call("POST", f"/vendor/v1/chat/completions?q={ADDRESS}", data=data, headers=fields) as reply:
        assert reply.status == 200
    operation = gateway.attempts[0].operation
    assert (operation.action, operation.complete, operation.attributes["streamed"]) == ("llm.chat", False, True)
    token = gateway.upstream.seen[0].query["q"]
    assert gateway.upstream.bodies == [body.replace(ADDRESS, token).encode()]
    assert not {"Content-MD5", "Content-Encoding", "Content-Length"} & set(gateway.upstream.seen[0].headers)
    outcome = await gateway.outcome()
    assert outcome["masked"] == {"request.EMAIL": 3}
    assert outcome["request_bytes"] == len(gateway.upstream.bodies[0])
    gateway.decide = masking(restore=True)  # what it stands for was stored before it went out
    await send(gateway, {"to": token})
    assert json.loads(gateway.upstream.bodies[-1]) == {"to": ADDRESS}


async def test_a_large_body_that_cannot_be_masked_never_arrives_whole(gateway: Gateway) -> None:
    await gateway.boot(limits={"inspection_window": 1000})
    gateway.decide = masking(request=("pii",))
    for end in (b"\xff", b"\0"):
        async with gateway.call("POST", "/vendor/x", data=b"text " * 100_000 + end) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (403, "mask_failed")
    async with gateway.call("POST", "/vendor/x", data=b"\xff" + b"text " * 100_000) as reply:
        assert reply.status == 403
    gateway.decide = masking(restore=True)
    async with gateway.call("POST", "/vendor/x", data=b"text " * 100_000) as reply:
        assert "inspection_window" in (await reply.json())["detail"]
    assert len(gateway.upstream.seen) <= 2
    assert gateway.upstream.bodies == []


async def test_a_body_that_cannot_be_read_does_not_hide_that_a_model_is_called(gateway: Gateway) -> None:
    """Rules about `llm.chat` apply, and those that need the content see that they do not have it."""
    await gateway.boot(limits={"inspection_window": 1000})
    chat, content = "/vendor/v1/chat/completions", {"role": "user", "content": ADDRESS}
    bodies = {
        "padded": json.dumps({"model": "m", "messages": [content], "pad": "x" * 2000}),
        "broken": '{"model": "m",',
        "python's": json.dumps({"model": "m", "messages": [content], "top_p": float("nan")}),
    }
    seen = {}
    for name, body in bodies.items():
        async with gateway.call("POST", chat, data=body.encode(), headers={"Content-Type": "application/json"}):
            operation = gateway.attempts[-1].operation
            seen[name] = (operation.action, operation.complete, operation.attributes.get("model"))
    assert seen["padded"] == seen["broken"] == ("llm.chat", False, None)
    assert seen["python's"] == ("llm.chat", True, "m")
    assert gateway.attempts[-1].operation.attributes["findings_by_role"] == {"user": {"EMAIL": 1}}
    async with gateway.call("POST", "/vendor/channels/1/messages", data=b"hello, all of you"):
        assert gateway.attempts[-1].operation.action == "http.post"


async def test_names_among_the_facts_of_a_model_call_are_masked(gateway: Gateway) -> None:
    await gateway.boot()
    tools = [{"type": "function", "function": {"name": KEY}}]
    messages = [{"role": ADDRESS, "content": f"my key is {KEY}"}]
    await send(gateway, {"model": ADDRESS, "tools": tools, "messages": messages}, "/vendor/v1/chat/completions")
    async with gateway.call("POST", "/vendor/x", data=b"1", headers={"Content-Type": f"text/{ADDRESS}"}):
        assert gateway.attempts[1].operation.attributes["media_type"] == ""
    operation = gateway.attempts[0].operation
    assert operation.attributes["model"].startswith("EMAIL#")
    assert operation.attributes["tools"][0].startswith("AWS_ACCESS_KEY_ID#")
    await gateway.outcome(2)
    assert not [raw for raw in gateway.raw if KEY.encode() in raw or b"lovelace" in raw]


async def test_while_the_vault_is_away_no_placeholder_goes_out(gateway: Gateway) -> None:
    await gateway.boot()
    admin = (await gateway.bus.connect("admin")).jetstream()
    await admin.delete_key_value("vault")
    gateway.decide = masking(request=("pii",), style="token")
    status, _ = await send(gateway, {"a": ADDRESS})
    assert status >= 500
    assert gateway.upstream.seen == []


async def test_recorded_frames_hold_masked_text_only(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.upstream.answer = lambda _r, _b: web.json_response({"found": ADDRESS})
    _, seen = await send(gateway, {})
    assert seen == {"found": ADDRESS}  # no rule masks it for the agent …
    await until(lambda: gateway.events("SessionFrame"))
    assert "EMAIL#" in gateway.events("SessionFrame")[0]["data"]  # … but the record never has it
    assert ADDRESS.encode() not in b"".join(gateway.raw)


async def test_a_detector_that_fails_on_the_record_does_not_answer_twice(gateway: Gateway) -> None:
    """The reply has gone out when it is recorded: a second one would be taken for the next request's."""
    await gateway.boot()
    assert gateway.ingress
    inspector = gateway.ingress.parts.inspector
    inspect = inspector.inspect_reply

    def failing(content: Content) -> Recorded:
        if content.raw.startswith(b'{"reply"'):
            raise mask_failed(MaskingError("the detector of EMAIL failed"))
        return inspect(content)

    inspector.inspect_reply = failing  # type: ignore[method-assign]
    gateway.upstream.answer = lambda request, _: web.json_response({"reply": request.path})
    for number in range(3):  # on one connection
        async with gateway.call("POST", f"/vendor/{number}", json={}) as reply:
            assert (reply.status, await reply.json()) == (200, {"reply": f"/{number}"})
    assert len({attempt.session_id for attempt in gateway.attempts}) == 1
    assert [(await gateway.outcome(number))["outcome"] for number in (1, 2, 3)] == ["forwarded"] * 3
    await until(lambda: gateway.events("SessionFrame"))
    assert gateway.events("SessionFrame")[0]["data"] == "[content that could not be inspected]"


async def test_a_reply_that_unpacks_to_much_is_recorded_up_to_the_limit(gateway: Gateway) -> None:
    await gateway.boot()
    packed = gzip.compress(bytes(random.Random(1).choices(range(97, 123), k=400_000)))
    fields = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    gateway.upstream.answer = lambda _r, _b: web.Response(body=packed, headers=fields)
    async with gateway.call("GET", "/vendor/x", headers={"Accept-Encoding": "gzip"}) as reply:
        assert await reply.read() == packed
    await until(lambda: gateway.events("SessionFrame"))
    frame = gateway.events("SessionFrame")[0]
    assert frame["truncated"] is True
    assert 0 < len(frame["data"].encode()) <= 256 * 1024


async def test_a_websocket_message_that_cannot_be_masked_closes_it_in_its_own_words(gateway: Gateway) -> None:
    await gateway.boot()
    gateway.decide = masking(request=("pii",))
    passed: list[object] = []

    async def echo(request: web.Request, _body: bytes) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            passed.append(message.data)
            await socket.send_str("heard")
        return socket

    gateway.upstream.answer = echo
    assert gateway.http
    fields = {"Authorization": f"Bearer {gateway.token()}"}
    async with gateway.http.ws_connect(gateway.url + "/vendor/live", headers=fields) as socket:
        await socket.send_str(f"mail {ADDRESS}")
        assert await socket.receive_str() == "heard"
        await socket.send_bytes(b"\xff\xfe\x00\x01")
        closed = await socket.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1008)
    assert passed == ["mail [EMAIL]"]
    outcome = await gateway.outcome()
    assert outcome["outcome"] == "failed"
    assert "not text" in outcome["error"] or "masked" in outcome["error"]
