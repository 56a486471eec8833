"""What a model was asked and what it said, out of the JSON or the event stream it travelled in. Pure.

Read are OpenAI's Chat Completions and Responses and Anthropic's Messages, each whole or streamed (server-sent events,
WHATWG HTML, section 9.2). Anything else is nobody's prose: None, and it is shown as it was recorded.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

#: Media types that may hold it.
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
#: Keys of a body that lists what was asked.
_ASKED: Final = ("system", "instructions", "messages", "input")


def said(media_type: str, data: str) -> str | None:
    """The words of a reply with the tools it calls, or None."""
    if media_type == EVENT_STREAM:
        words = "".join(word for event in _events(data) for word in _delta(event))
    else:
        body = _object(data)
        words = "" if body is None else "\n".join(_whole(body))
    return words.strip("\n") or None


def asked(data: str) -> str | None:
    """Who said what so far, a paragraph each, of a request's JSON; or None."""
    body = _object(data)
    if body is None or not any(name in body for name in _ASKED):
        return None
    paragraphs = [f"{role}: {text}" for role, text in _asked(body) if text]
    return "\n\n".join(paragraphs) or None


def _events(stream: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of the stream's `data` fields; the last may be cut and then is left out."""
    for block in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        fields = (line.partition(":") for line in block.split("\n"))
        data = "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")
        if (event := _object(data)) is not None:
            yield event


def _delta(event: dict[str, Any]) -> Iterator[str]:
    for choice in _dicts(event.get("choices")):
        delta = _dict(choice.get("delta"))
        yield _text(delta.get("content"))
        for call in _dicts(delta.get("tool_calls")):
            function = _dict(call.get("function"))
            if name := _text(function.get("name")):
                yield f"\n→ {name} "
            yield _text(function.get("arguments"))
    kind = event.get("type")
    if kind in ("response.output_text.delta", "response.function_call_arguments.delta"):
        yield _text(event.get("delta"))
    elif kind == "response.output_item.added":
        yield from _called(_dict(event.get("item")).get("name"))
    elif kind == "content_block_start":
        block = _dict(event.get("content_block"))
        yield from _called(block.get("name"))
        yield _text(block.get("text"))
    elif kind == "content_block_delta":
        delta = _dict(event.get("delta"))
        yield _text(delta.get("text")) or _text(delta.get("partial_json"))


def _called(name: Any) -> Iterator[str]:
    if text := _text(name):
        yield f"\n→ {text} "


def _whole(body: dict[str, Any]) -> Iterator[str]:
    for choice in _dicts(body.get("choices")):
        message = _dict(choice.get("message"))
        yield from _parts(message.get("content"))
        for call in _dicts(message.get("tool_calls")):
            function = _dict(call.get("function"))
            yield f"→ {_text(function.get('name'))} {_text(function.get('arguments'))}"
    if body.get("type") == "message":
        yield from _parts(body.get("content"))
    for item in _dicts(body.get("output")):
        if item.get("type") == "function_call":
            yield f"→ {_text(item.get('name'))} {_text(item.get('arguments'))}"
        yield from _parts(item.get("content"))


def _asked(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("system", "instructions"):
        yield "system", "\n".join(_parts(body.get(name)))
    if isinstance(body.get("input"), str):
        yield "user", body["input"]
    for message in (*_dicts(body.get("messages")), *_dicts(body.get("input"))):
        text = "\n".join(_parts(message.get("content") or message.get("output")))
        calls = [_dict(call.get("function")) for call in _dicts(message.get("tool_calls"))]
        words = [text, *(f"→ {_text(call.get('name'))} {_text(call.get('arguments'))}" for call in calls)]
        yield _text(message.get("role")) or _text(message.get("type")) or "?", "\n".join(filter(None, words))


def _parts(content: Any) -> Iterator[str]:
    """Text of a content that is a string, or a list of typed parts."""
    if isinstance(content, str):
        yield content
    for part in _dicts(content):
        if text := _text(part.get("text")):
            yield text
        elif part.get("type") == "tool_use":
            yield f"→ {_text(part.get('name'))} {json.dumps(part.get('input'), ensure_ascii=False)}"
        elif part.get("type") == "tool_result":
            yield from _parts(part.get("content"))
        else:
            yield f"[{_text(part.get('type')) or 'part'}]"


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
