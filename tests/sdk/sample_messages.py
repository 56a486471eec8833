"""A model provider with the Anthropic Messages API, as far as its SDK needs it: text, one tool, streamed or not."""

import json
from typing import Any

from aiohttp import web

API_KEY = "sk-ant-provider-key-that-no-agent-holds"


async def messages(request: web.Request) -> web.StreamResponse:
    """`POST /v1/messages`."""
    if request.headers.get("X-Api-Key") != API_KEY:
        error = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
        return web.json_response(error, status=401)
    body = await request.json()
    content = answer(body)
    if body.get("stream"):
        return await stream(request, body, content)
    return web.json_response({**envelope(body), "content": [content], "stop_reason": stop_reason(content)})


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Uses the first tool; sums up once it has a result."""
    last = body["messages"][-1]["content"]
    results = [part for part in last if isinstance(part, dict) and part["type"] == "tool_result"]
    if body.get("tools") and not results:
        return {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {"city": "Bern"}}
    return {"type": "text", "text": f"Done. {results[0]['content']}" if results else f"You said: {last}"}


def stop_reason(content: dict[str, Any]) -> str:
    return "tool_use" if content["type"] == "tool_use" else "end_turn"


def envelope(body: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {
        "id": "msg_sample",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


async def stream(request: web.Request, body: dict[str, Any], content: dict[str, Any]) -> web.StreamResponse:
    """Server-sent events, one per delta."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    if content["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word + " "} for word in content["text"].split()]
    else:
        empty = {**content, "input": {}}
        text = json.dumps(content["input"])
        deltas = [{"type": "input_json_delta", "partial_json": text[at : at + 4]} for at in range(0, len(text), 4)]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": envelope(body)},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason(content), "stop_sequence": None},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return response


def application() -> web.Application:
    """The provider's routes."""
    app = web.Application()
    app.router.add_post("/v1/messages", messages)
    return app
