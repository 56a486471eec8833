"""Events of OpenAI's other APIs, and of whoever names events as they do: `….delta` carries a text on.

    {"type": "transcript.text.delta", "delta": "Hel"}
    {"object": "thread.message.delta", "id": "msg_1", "delta": {"content": [{"index": 0, "text": {"value": "Hel"}}]}}

A text ends with its `….done`, and all of them with an object that is `completed`, `failed`, `cancelled` and so on.
"""

from __future__ import annotations

from services.ingress.masking.llm_stream.shapes import (
    Fragment,
    Json,
    Key,
    Leaf,
    Reading,
    delta_leaves,
    leaves,
    only,
    spelt_out,
)

_OVER = frozenset({"completed", "incomplete", "failed", "cancelled", "expired"})
_SCALARS = (str, int, float, bool, type(None))


def read(event: Json) -> Reading | None:
    kind = event.get("type") or event.get("object")
    if not isinstance(kind, str):
        return None
    stem, _, step = kind.rpartition(".")
    if step == "delta" and "delta" in event:
        reading = Reading(carry=lambda fragment, text: _carry(event, fragment, text), repeats=list(spelt_out(event)))
        reading.fragments += [Fragment((stem, *leaf.ident), leaf.path, leaf.text) for leaf in _texts(event)]
        return reading
    if step == "done" or step in _OVER or event.get("status") in _OVER:
        ends: list[Key] = [(stem,)] if step == "done" else [()]
        return Reading(ends=ends, wholes=list(leaves(event)), repeats=list(spelt_out(event)))
    return None


def _texts(event: Json) -> list[Leaf]:
    ident = tuple(str(event[name]) for name in ("id", "item_id") if name in event)
    delta = event["delta"]
    if isinstance(delta, str):
        return [Leaf(("delta",), (*ident, "text"), delta)]
    return list(delta_leaves(delta, ("delta",), ident))


def _carry(event: Json, fragment: Fragment, text: str) -> Json:
    kept = {name: value for name, value in event.items() if isinstance(value, _SCALARS)}
    return {**kept, **only(event, fragment.path, text)}
