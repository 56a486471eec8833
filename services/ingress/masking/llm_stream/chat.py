"""OpenAI Chat Completions chunks, as any compatible server sends them, and the older Completions.

    {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": null}]}

A text is a member of one choice's delta; it ends with the chunk that has the choice's `finish_reason`.
"""

from __future__ import annotations

from typing import Any

from services.ingress.masking.llm_stream.shapes import (
    Fragment,
    Json,
    Reading,
    delta_leaves,
    leaves,
    number,
    only,
    spelt_out,
)

_SCALARS = (str, int, float, bool, type(None))


def read(event: Json) -> Reading | None:
    choices = event.get("choices")
    if not isinstance(choices, list):
        return None
    reading = Reading(carry=lambda fragment, text: _carry(event, fragment, text))
    for position, choice in enumerate(choices):
        if isinstance(choice, dict):
            _read_choice(choice, position, reading)
    return reading


def _read_choice(choice: Json, position: int, reading: Reading) -> None:
    index = number(choice.get("index"), position)
    path = ("choices", position)
    for leaf in delta_leaves(choice.get("delta"), (*path, "delta"), (index,)):
        reading.fragments.append(Fragment(leaf.ident, leaf.path, leaf.text))
    if isinstance(choice.get("text"), str):
        reading.fragments.append(Fragment((index, "text"), (*path, "text"), choice["text"]))
    reading.wholes += leaves(choice.get("message"), (*path, "message"))
    reading.repeats += spelt_out(choice, path)
    if choice.get("finish_reason"):
        reading.ends.append((index,))


def _carry(event: Json, fragment: Fragment, text: str) -> Json:
    _, position, *path = fragment.path
    choice = event["choices"][position]
    kept: dict[str, Any] = {"index": fragment.key[0]}
    return {
        **{name: value for name, value in event.items() if isinstance(value, _SCALARS) and name != "usage"},
        "choices": [{**only(choice, tuple(path), text), **kept, "finish_reason": None}],
    }
