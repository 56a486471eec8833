"""Anthropic Messages events.

    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}

A text is a member of a content block, also of a kind not known here; it ends with the block. A thinking block's text
ends with its signature.
"""

from __future__ import annotations

from services.ingress.masking.llm_stream.shapes import NO_TEXTS, Fragment, Json, Key, Reading, leaves, number

_DELTAS = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "partial_json": "input_json_delta",
}


def read(event: Json) -> Reading | None:
    index = number(event.get("index"))
    match event.get("type"):
        case "content_block_start":
            return _block(event, index, "content_block")
        case "content_block_delta":
            reading = _block(event, index, "delta")
            delta = event.get("delta")
            if isinstance(delta, dict) and delta.get("type") == "signature_delta":
                reading.ends.append((index, "thinking"))
            return reading
        case "content_block_stop":
            return Reading(ends=[(index,)])
        case "message_start" | "message_delta" | "message_stop":
            return Reading(ends=[()], wholes=list(leaves(event)))
        case _:
            return None


def _block(event: Json, index: int, member: str) -> Reading:
    block = event.get(member)
    kind = str(block.get("type", "")) if isinstance(block, dict) else ""
    reading = Reading(carry=lambda fragment, text: _carry(fragment, text, kind))
    for name, value in block.items() if isinstance(block, dict) else ():
        if isinstance(value, str) and name not in NO_TEXTS:
            reading.fragments.append(Fragment(_key(index, name), (member, name), value))
        elif isinstance(value, dict | list):
            reading.wholes += leaves(value, (member, name))
    return reading


def _key(index: int, name: str) -> Key:
    return (index, name)


def _carry(fragment: Fragment, text: str, kind: str) -> Json:
    index, name = fragment.key
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": _DELTAS.get(str(name), kind), name: text},
    }
