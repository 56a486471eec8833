"""The whole answer out of a stream of deltas, for the record: one JSON object, each text under its name.

    {"model": "gpt-5", "0.content": "Hello", "0.tool_calls.0.function.arguments": "{…}", "usage": {…}}

Events that carry no such text are left out, except an error; a stream of no provider that we know is None.
"""

from __future__ import annotations

from typing import Any

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream import sse
from services.ingress.masking.llm_stream.masker import read
from services.ingress.masking.llm_stream.shapes import Key
from services.ingress.masking.llm_stream.splice import parse

#: Members of any event that the record shows once, as they were last.
_FACTS = ("model", "usage", "error")


def reassemble(stream: bytes, *, complete: bool = True) -> dict[str, Any] | None:
    """The texts of a stream by name. Without `complete`, an event that was cut off is left out."""
    texts: dict[Key, list[str]] = {}
    facts: dict[str, Any] = {}
    known = False
    for value in _values(stream, complete=complete):
        reading = read(value)
        known = known or reading is not None
        for fragment in reading.fragments if reading else ():
            texts.setdefault(fragment.key, []).append(fragment.text)
        facts |= _facts(value)
    return {**facts, **{_name(key): "".join(parts) for key, parts in texts.items()}} if known else None


def _values(stream: bytes, *, complete: bool) -> list[Any]:
    framing = sse.Framing()
    events = framing.receive(stream)
    if complete and framing.rest:
        events.append(sse.parse(framing.rest))
    return [value for event in events if event.data is not None and (value := _value(event.data)) is not None]


def _value(data: bytes) -> Any:
    try:
        return parse(data)[1]
    except MaskingError:
        return None


def _facts(value: Any) -> dict[str, Any]:
    """What is the same in the whole answer; providers also put it into `message` or `response`."""
    found: dict[str, Any] = {}
    for node in (value, value.get("message"), value.get("response")) if isinstance(value, dict) else ():
        if isinstance(node, dict):
            found |= {name: node[name] for name in _FACTS if node.get(name)}
    return found


def _name(key: Key) -> str:
    return ".".join(str(step) for step in key if step != "")
