"""The providers' own clients read a masked stream as they read any: unmodified, over HTTP, with tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from services.ingress.masking import Replacer
from services.ingress.masking.llm_stream.masker import EventStreamMasker
from tests.masking_structure.streams import DOCUMENTS, SCANNER, TEXTS, event

TEXT = "Write to bob@example.com, card 4111 1111 1111 1111, thanks"
MASKED = "Write to [EMAIL], card [CREDIT_CARD], thanks"
ARGUMENTS = json.dumps({"to": "bob@example.com", "card": 4111111111111111, "note": 'a "quoted"\nline'})
MASKED_ARGUMENTS = {"to": "[EMAIL]", "card": "[CREDIT_CARD]", "note": 'a "quoted"\nline'}

Serve = Callable[[bytes], Awaitable[str]]


def pieces(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an upstream whose stream is masked on its way out, 50 bytes a write; gives its address."""
    runners: list[web.AppRunner] = []

    async def start(stream: bytes) -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            masker = EventStreamMasker(SCANNER, Replacer())
            for at in range(0, len(stream), 50):
                await response.write(masker.feed(stream[at : at + 50]))
            await response.write(masker.close())
            return response

        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def openai(base: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)


MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


async def test_openai_chat(serve: Serve) -> None:
    async with (
        openai(await serve(TEXTS[0].write(pieces(TEXT)))) as client,
        client.chat.completions.stream(model="gpt-5", messages=MESSAGES) as stream,
    ):
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == MASKED
    assert completion.choices[0].finish_reason == "stop"


async def test_openai_chat_with_tools(serve: Serve) -> None:
    tool: Any = {"type": "function", "function": {"name": "send", "parameters": {"type": "object"}}}
    async with (
        openai(await serve(DOCUMENTS[0].write(pieces(ARGUMENTS)))) as client,
        client.chat.completions.stream(model="gpt-5", messages=MESSAGES, tools=[tool]) as stream,
    ):
        completion = await stream.get_final_completion()
    call: Any = (completion.choices[0].message.tool_calls or [None])[0]
    assert json.loads(call.function.arguments) == MASKED_ARGUMENTS


async def test_openai_responses(serve: Serve) -> None:
    async with openai(await serve(_responses_stream())) as client:
        deltas = ""
        async with client.responses.stream(model="gpt-5", input="hello") as stream:
            async for each in stream:
                if each.type == "response.output_text.delta":
                    deltas += each.delta
            final = await stream.get_final_response()
    assert deltas == final.output_text == MASKED


def _responses_stream() -> bytes:
    """What the client's own parser wants of a stream: created, the item and the part, and then the text."""
    shell = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "status": "in_progress"}
    shell |= {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = {**item, "status": "completed", "content": [{**part, "text": TEXT}]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": shell},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": part} for part in pieces(TEXT)),
        {"type": "response.output_text.done", **place, "text": TEXT},
        {"type": "response.content_part.done", **place, "part": {**part, "text": TEXT}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {**shell, "status": "completed", "output": [done]}},
    ]
    return b"".join(event({**each, "sequence_number": at}, each["type"]) for at, each in enumerate(events))


async def test_anthropic_text(serve: Serve) -> None:
    base = await serve(TEXTS[2].write(pieces(TEXT)))
    async with (
        AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client,
        client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES) as stream,
    ):
        message = await stream.get_final_message()
    assert message.content[0].type == "text"
    assert message.content[0].text == MASKED
    assert message.stop_reason == "end_turn"


async def test_anthropic_tool_input(serve: Serve) -> None:
    tool: Any = {"name": "send", "input_schema": {"type": "object"}}
    base = await serve(DOCUMENTS[2].write(pieces(ARGUMENTS)))
    async with (
        AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client,
        client.messages.stream(model="claude", max_tokens=9, messages=MESSAGES, tools=[tool]) as stream,
    ):
        message = await stream.get_final_message()
    assert message.content[0].type == "tool_use"
    assert message.content[0].input == MASKED_ARGUMENTS
