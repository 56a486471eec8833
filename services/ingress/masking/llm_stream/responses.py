"""OpenAI Responses events.

    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"}

A text is a part of an output item; it ends with its `.done`, which repeats it whole, as do the `.done` events of
the part and of the item, and `response.completed`.
"""

from __future__ import annotations

from services.ingress.masking.llm_stream.shapes import Fragment, Json, Key, Leaf, Reading, leaves, spelt_out

#: Deltas of base64, not text.
_BINARY = frozenset({"response.audio", "response.output_audio"})


def read(event: Json) -> Reading | None:
    kind = event.get("type")
    if not isinstance(kind, str) or not kind.startswith("response."):
        return None
    stem, _, step = kind.rpartition(".")
    reading = Reading(carry=lambda _, text: _carry(event, text))
    if step == "delta" and isinstance(event.get("delta"), str):
        if stem not in _BINARY:
            reading.fragments.append(Fragment(_key(event, stem), ("delta",), event["delta"]))
    else:
        reading.ends += _ends(event, stem, step)
        reading.wholes += leaves(event)
        reading.wholes += _argument_leaf(event, stem)
    reading.repeats += spelt_out(event)
    return reading


def _item(event: Json) -> str | int:
    index = event.get("output_index")
    return index if isinstance(index, int) else str(event.get("item_id", ""))


def _key(event: Json, stem: str) -> Key:
    part = event.get("content_index", event.get("summary_index"))
    # The last segment says what the text is; arguments are JSON.
    return (_item(event), part if isinstance(part, int) else "", stem, "arguments" if "arguments" in stem else "text")


def _ends(event: Json, stem: str, step: str) -> list[Key]:
    if stem == "response":
        return [()] if step in ("completed", "incomplete", "failed", "cancelled") else []
    if step != "done":
        return []
    if stem == "response.output_item":
        return [(_item(event),)]
    key = _key(event, stem)
    return [key[:2]] if stem in ("response.content_part", "response.reasoning_summary_part") else [key]


def _argument_leaf(event: Json, stem: str) -> list[Leaf]:
    """`delta` of an event that we do not know as a delta."""
    delta = event.get("delta")
    return [Leaf(("delta",), (stem,), delta)] if isinstance(delta, str) else []


def _carry(event: Json, text: str) -> Json:
    kept = {name: value for name, value in event.items() if name not in ("obfuscation", "logprobs")}
    return {**kept, "delta": text, **({"logprobs": []} if "logprobs" in event else {})}
