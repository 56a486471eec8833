"""Model streams as the providers send them, and the texts a client makes of them. Nothing here asks the masking."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.ingress.masking import Replacer, Scanner, scanner_for
from services.ingress.masking.llm_stream.masker import EventStreamMasker

SCANNER: Scanner = scanner_for(frozenset(["secrets", "pii", "financial"]))


def masked(stream: bytes, cuts: Iterable[int] = ()) -> bytes:
    """The stream through a masker, cut into reads at these places."""
    masker = EventStreamMasker(SCANNER, Replacer())
    edges = [0, *sorted(cuts), len(stream)]
    parts = [stream[start:end] for start, end in pairwise(edges)]
    return b"".join(masker.feed(part) for part in parts) + masker.close()


def event(value: Any, name: str = "") -> bytes:
    lines = f"event: {name}\n" if name else ""
    return f"{lines}data: {json.dumps(value)}\n\n".encode()


def values(stream: bytes) -> list[Any]:
    """What a client reads: the data of each event."""
    found = []
    for block in stream.decode().replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
        if data and data != "[DONE]":
            found.append(json.loads(data))
    return found


@dataclass(frozen=True)
class Shape:
    """How a provider streams one text."""

    name: str
    write: Callable[[Sequence[str]], bytes]
    read: Callable[[bytes], str]


def chat_chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event(
        {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 17, "model": "gpt-5", "choices": [choice]}
    )


def _chat(parts: Sequence[str]) -> bytes:
    first = chat_chunk({"role": "assistant", "content": ""})
    usage = event({"id": "chatcmpl-9", "choices": [], "usage": {"total_tokens": 12}})
    deltas = b"".join(chat_chunk({"content": part}) for part in parts)
    return first + deltas + chat_chunk({}, "stop") + usage + b"data: [DONE]\n\n"


def _chat_text(stream: bytes) -> str:
    deltas = [choice["delta"] for value in values(stream) for choice in value["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def _tool(parts: Sequence[str]) -> bytes:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "send", "arguments": ""}}
    first = chat_chunk({"role": "assistant", "content": None, "tool_calls": [call]})
    deltas = b"".join(chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in parts)
    return first + deltas + chat_chunk({}, "tool_calls") + b"data: [DONE]\n\n"


def _tool_text(stream: bytes) -> str:
    deltas = [choice["delta"] for value in values(stream) for choice in value["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    return "".join(call["function"].get("arguments", "") for call in calls)


def _responses(stem: str, whole: str) -> Callable[[Sequence[str]], bytes]:
    def write(parts: Sequence[str]) -> bytes:
        text, place = "".join(parts), {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        events = [{"type": f"{stem}.delta", **place, "delta": part, "logprobs": []} for part in parts]
        events.append({"type": f"{stem}.done", **place, whole: text, "logprobs": []})
        if whole == "text":
            item = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": text}]}
        else:
            item = {"id": "msg_1", "type": "function_call", "name": "send", "arguments": text}
        events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
        events.append({"type": "response.completed", "response": {"id": "resp_1", "output": [item]}})
        numbered = [{**value, "sequence_number": number} for number, value in enumerate(events)]
        return b"".join(event(value, value["type"]) for value in numbered)

    return write


def _responses_text(stem: str, whole: str) -> Callable[[bytes], str]:
    def read(stream: bytes) -> str:
        found = values(stream)
        text = "".join(value["delta"] for value in found if value["type"] == f"{stem}.delta")
        item = next(value["item"] for value in found if value["type"] == "response.output_item.done")
        repeated = [next(value[whole] for value in found if value["type"] == f"{stem}.done")]
        repeated.append(item["content"][0]["text"] if whole == "text" else item["arguments"])
        last = found[-1]["response"]["output"][0]
        repeated.append(last["content"][0]["text"] if whole == "text" else last["arguments"])
        assert repeated == [text] * 3, "what is repeated is not what was streamed"
        return text

    return read


def _messages(kind: str, member: str) -> Callable[[Sequence[str]], bytes]:
    blocks = {
        "text": {"type": "text", "text": ""},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "partial_json": {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {}},
    }

    def write(parts: Sequence[str]) -> bytes:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
        events.append({"type": "content_block_start", "index": 0, "content_block": blocks[member]})
        events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": 0, "delta": {"type": kind, member: part}} for part in parts]
        events.append({"type": "content_block_stop", "index": 0})
        events.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 9},
            }
        )
        events.append({"type": "message_stop"})
        return b"".join(event(value, value["type"]) for value in events)

    return write


def _messages_text(member: str) -> Callable[[bytes], str]:
    def read(stream: bytes) -> str:
        deltas = [value["delta"] for value in values(stream) if value["type"] == "content_block_delta"]
        return "".join(delta[member] for delta in deltas)

    return read


def _gemini(parts: Sequence[str]) -> bytes:
    first = [{"candidates": [{"content": {"parts": [{"text": part}], "role": "model"}, "index": 0}]} for part in parts]
    return b"".join(event(value) for value in [*first, {"candidates": [{"finishReason": "STOP", "index": 0}]}])


def _gemini_text(stream: bytes) -> str:
    candidates = [candidate for value in values(stream) for candidate in value["candidates"]]
    parts = [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]
    return "".join(part["text"] for part in parts)


TEXTS = (
    Shape("chat content", _chat, _chat_text),
    Shape(
        "responses text", _responses("response.output_text", "text"), _responses_text("response.output_text", "text")
    ),
    Shape("messages text", _messages("text_delta", "text"), _messages_text("text")),
    Shape("messages thinking", _messages("thinking_delta", "thinking"), _messages_text("thinking")),
    Shape("gemini text", _gemini, _gemini_text),
)
_ARGUMENTS = "response.function_call_arguments"
DOCUMENTS = (
    Shape("chat tool call", _tool, _tool_text),
    Shape("responses arguments", _responses(_ARGUMENTS, "arguments"), _responses_text(_ARGUMENTS, "arguments")),
    Shape("messages tool input", _messages("input_json_delta", "partial_json"), _messages_text("partial_json")),
)
