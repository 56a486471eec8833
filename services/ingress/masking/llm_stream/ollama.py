"""Ollama's own API: lines of JSON, not server-sent events.

    {"model": "llama", "message": {"role": "assistant", "content": "Hel"}, "done": false}

`response` in place of `message` is the older generate call. All texts end with the line that is `done`.
"""

from __future__ import annotations

from services.ingress.masking.llm_stream.shapes import Fragment, Json, Path, Reading, only, spelt_out

_TEXTS = ("content", "thinking", "response")


def read(event: Json) -> Reading | None:
    if not isinstance(event.get("done"), bool):
        return None
    reading = Reading(carry=lambda fragment, text: _carry(event, fragment, text), repeats=list(spelt_out(event)))
    message = event.get("message")
    nodes: list[tuple[Json, Path]] = [(event, ()), (message if isinstance(message, dict) else {}, ("message",))]
    for node, path in nodes:
        for name in _TEXTS:
            if isinstance(node.get(name), str):
                reading.fragments.append(Fragment((*path, name), (*path, name), node[name]))
    if event["done"]:
        reading.ends.append(())
    return reading


def _carry(event: Json, fragment: Fragment, text: str) -> Json:
    kept = {name: event[name] for name in ("model", "created_at") if name in event}
    return {**kept, **only(event, fragment.path, text), "done": False}
