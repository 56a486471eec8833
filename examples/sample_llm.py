"""A sample model provider: the OpenAI Chat Completions API with a model small enough to read.

The "model" is a few rules over the conversation: it asks for the tools it was offered, one after the other, and then
sums up what they returned. It demands an API key as a provider does, so that it shows who holds the key. Not a part
of Countersign: it stands where https://api.openai.com would.
"""

import argparse
import asyncio
import json
import time
from typing import Any

from aiohttp import web

from examples.serving import serve

#: A provider answers with the snapshot that a model's name stands for.
SNAPSHOTS = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
API_KEY = "sk-demo-provider-key-that-no-agent-holds"


def next_message(body: dict[str, Any]) -> dict[str, Any]:
    """What the model says next: a call of the first tool not called yet, or a summary."""
    messages = body.get("messages", [])
    called = [call["function"]["name"] for message in messages for call in message.get("tool_calls") or []]
    for tool in body.get("tools", []):
        name = tool["function"]["name"]
        if name not in called:
            return {"role": "assistant", "content": None, "tool_calls": [_call(name, len(called))]}
    results = [str(message["content"]) for message in messages if message.get("role") == "tool"]
    said = "Done. " + " ".join(results) if results else f"You said: {_last_user_text(messages)}"
    return {"role": "assistant", "content": said}


def _call(name: str, number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    texts = [message.get("content") for message in messages if message.get("role") == "user"]
    return str(texts[-1]) if texts else ""


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """`POST /v1/chat/completions`, streamed or not."""
    if request.headers.get("Authorization") != f"Bearer {API_KEY}":
        return web.json_response({"error": {"message": "Incorrect API key provided", "type": "auth"}}, status=401)
    body = await request.json()
    message = next_message(body)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    if body.get("stream"):
        return await _stream(request, body, message, finish)
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return web.json_response(_envelope(body, "chat.completion") | {"choices": [choice], "usage": _usage()})


async def _stream(
    request: web.Request, body: dict[str, Any], message: dict[str, Any], finish: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    for delta in _deltas(message):
        await _event(response, body, {"index": 0, "delta": delta, "finish_reason": None})
    await _event(response, body, {"index": 0, "delta": {}, "finish_reason": finish})
    await response.write(b"data: [DONE]\n\n")
    return response


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word + " "} for word in (message.get("content") or "").split()]
    deltas += [{"tool_calls": [{"index": n, **call}]} for n, call in enumerate(message.get("tool_calls") or [])]
    return deltas


async def _event(response: web.StreamResponse, body: dict[str, Any], choice: dict[str, Any]) -> None:
    chunk = _envelope(body, "chat.completion.chunk") | {"choices": [choice]}
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    model = str(body.get("model", ""))
    return {"id": "chatcmpl-sample", "object": kind, "created": int(time.time()), "model": SNAPSHOTS.get(model, model)}


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def application() -> web.Application:
    """The provider's routes."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat_completions)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A sample model provider with the OpenAI Chat Completions API")
    parser.add_argument("--port", type=int, default=9001)
    asyncio.run(serve(application(), parser.parse_args().port))
