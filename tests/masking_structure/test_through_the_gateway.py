"""The same through a running ingress, with a real bus and upstream: what the agent gets, and what is recorded."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from schemas.events import OperationAttempted
from schemas.verdicts import Decision, MaskObligation, Obligations, Verdict
from tests.conftest import until
from tests.ingress.conftest import Gateway, gateway, upstream
from tests.masking_structure.streams import TEXTS, chat_chunk

__all__ = ["gateway", "upstream"]  # fixtures

SETS = ("secrets", "pii", "financial")
CHAT = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "ask bob@example.com"}]}


def masking(_: OperationAttempted) -> Verdict:
    mask = MaskObligation(request=SETS, response=SETS)
    return Verdict(decision=Decision.ALLOW, rules=("masked",), obligations=Obligations(mask=mask))


@pytest.fixture
def masked_gateway(gateway: Gateway) -> Gateway:
    gateway.decide = masking
    return gateway


async def test_a_model_stream_is_masked_both_ways_and_recorded_as_one_answer(masked_gateway: Gateway) -> None:
    gateway = await masked_gateway.boot()
    stream = TEXTS[0].write(["Your card 41", "11 1111 11", "11 1111 is known. ", "Bye, "])

    async def answer(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for at in range(0, len(stream), 100):
            await response.write(stream[at : at + 100])
        return response

    gateway.upstream.answer = answer
    async with gateway.call("POST", "/vendor/v1/chat/completions", json=CHAT) as response:
        body = await response.read()
    assert TEXTS[0].read(body) == "Your card [CREDIT_CARD] is known. Bye, "
    assert json.loads(gateway.upstream.bodies[0])["messages"][0]["content"] == "ask [EMAIL]"
    outcome = await gateway.outcome()
    assert outcome["masked"] == {"request.EMAIL": 1, "response.CREDIT_CARD": 1}
    frames = [json.loads(event["data"]) for event in gateway.events("SessionFrame") if event["direction"] == "response"]
    assert frames[0]["0.content"].startswith("Your card CREDIT_CARD#")
    assert not [raw for raw in gateway.raw if b"4111" in raw or b"bob@example.com" in raw]


async def test_a_long_answer_is_recorded_to_its_end(masked_gateway: Gateway) -> None:
    """Several times what the inspection window holds on the wire; its usage comes last."""
    gateway = await masked_gateway.boot()
    words = [f"word{number} " for number in range(2000)]
    stream = TEXTS[0].write([*words, "ask bob@exa", "mple.com"])
    assert len(stream) > 300_000
    gateway.upstream.answer = lambda *_: web.Response(body=stream, headers={"Content-Type": "text/event-stream"})
    async with gateway.call("POST", "/vendor/v1/chat/completions", json=CHAT) as response:
        await response.read()
    frame = await response_frame(gateway)
    assert frame["truncated"] is False
    recorded = json.loads(frame["data"])
    assert recorded["0.content"].startswith("".join(words) + "ask EMAIL#")
    assert recorded["usage"] == {"total_tokens": 12}


async def test_of_a_stream_that_breaks_off_no_half_of_a_value_is_recorded(masked_gateway: Gateway) -> None:
    gateway = await masked_gateway.boot()

    async def answer(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chat_chunk({"content": "Use "}) + chat_chunk({"content": "AKIAIOSFODNN7EXAM"}))
        await head_seen.wait()
        assert request.transport
        request.transport.abort()
        return response

    head_seen = asyncio.Event()
    gateway.upstream.answer = answer
    async with gateway.call("POST", "/vendor/v1/chat/completions", json=CHAT) as response:
        head_seen.set()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    frame = await response_frame(gateway)
    assert frame["truncated"] is True
    assert json.loads(frame["data"]) == {"model": "gpt-5", "0.content": "Use "}
    assert not [raw for raw in gateway.raw if b"AKIAIOSFODNN7EXAM" in raw]


async def response_frame(gateway: Gateway) -> dict[str, Any]:
    await until(lambda: gateway.events("SessionFrame"))
    return next(event for event in gateway.events("SessionFrame") if event["direction"] == "response")


async def test_an_encoded_reply_is_unpacked_and_its_fields_say_so(masked_gateway: Gateway) -> None:
    gateway = await masked_gateway.boot()
    packed = gzip.compress(b'{"mail": "bob\\u0040example.com"}')
    fields = {"Content-Encoding": "gzip", "Content-Type": "application/json", "Content-MD5": "x"}
    gateway.upstream.answer = lambda *_: web.Response(body=packed, headers=fields)
    async with gateway.call("GET", "/vendor/x", headers={"Range": "bytes=0-9"}) as response:
        body = await response.read()
        assert "Content-Encoding" not in response.headers
        assert "Content-MD5" not in response.headers
    assert body == b'{"mail": "[EMAIL]"}'
    assert "Range" not in gateway.upstream.seen[0].headers


async def test_a_request_that_cannot_be_masked_goes_nowhere(masked_gateway: Gateway) -> None:
    gateway = await masked_gateway.boot()
    async with gateway.call("POST", "/vendor/x", data=b"\x00\xff") as response:
        assert response.status == 403
        assert (await response.json(content_type=None))["error"]["code"] == "mask_failed"
    assert gateway.upstream.seen == []


async def test_a_reply_that_cannot_be_masked_is_refused(masked_gateway: Gateway) -> None:
    gateway = await masked_gateway.boot()
    gateway.upstream.answer = lambda *_: web.Response(body=b"x", headers={"Content-Encoding": "br"})
    async with gateway.call("GET", "/vendor/x") as response:
        assert response.status == 502
        assert (await response.json(content_type=None))["error"]["code"] == "mask_failed"


@pytest.mark.parametrize(
    ("path", "body", "reply", "action"),
    [
        (
            "v1beta/models/gemini-2.5-pro:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "ask bob@example.com"}]}]},
            {
                "candidates": [
                    {"content": {"parts": [{"text": "a@b.com"}]}, "logprobsResult": {"chosen": ["a", "@b.com"]}}
                ]
            },
            "llm.chat",
        ),
        (
            "api/chat",
            {"model": "llama", "stream": False, "messages": [{"role": "user", "content": "ask bob@example.com"}]},
            {"model": "llama", "message": {"content": "a@b.com"}, "logprobs": [{"token": "a"}], "done": True},
            "llm.chat",
        ),
    ],
    ids=["gemini", "ollama"],
)
async def test_other_providers_calls_are_known_by_their_paths(
    masked_gateway: Gateway, path: str, body: dict[str, Any], reply: dict[str, Any], action: str
) -> None:
    """So that findings are told by role, and what says an answer token by token is left out."""
    gateway = await masked_gateway.boot()
    gateway.upstream.answer = lambda *_: web.json_response(reply)
    async with gateway.call("POST", f"/vendor/{path}", json=body) as response:
        text = await response.text()
    operation = gateway.attempts[0].operation
    assert operation.action == action
    assert operation.attributes["model"] == body.get("model", "gemini-2.5-pro")
    assert operation.attributes["findings_by_role"] == {"user": {"EMAIL": 1}}
    assert "[EMAIL]" in text
    assert '"token"' not in text
    assert "@b.com" not in text
