"""Google generateContent events (`alt=sse`).

    {"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}, "index": 0}]}

The parts of one event carry on those of the last, so a text is all of a candidate's parts, thoughts apart. It ends
with the stream, or with a `finishReason` that comes without text: some models send one with every part.
"""

from __future__ import annotations

from typing import Any

from services.ingress.masking.llm_stream.shapes import Fragment, Json, Reading, leaves, number, spelt_out


def read(event: Json) -> Reading | None:
    candidates = event.get("candidates")
    if not isinstance(candidates, list):
        return None
    reading = Reading(carry=lambda fragment, text: _carry(event, fragment, text))
    for position, candidate in enumerate(candidates):
        if isinstance(candidate, dict):
            _read_candidate(candidate, position, reading)
    return reading


def _read_candidate(candidate: Json, position: int, reading: Reading) -> None:
    index = number(candidate.get("index"), position)
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for at, part in enumerate(parts if isinstance(parts, list) else ()):
        path = ("candidates", position, "content", "parts", at)
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            name = "thought" if part.get("thought") else "text"
            reading.fragments.append(Fragment((index, name), (*path, "text"), part["text"]))
        else:
            reading.wholes += leaves(part, path)
    reading.repeats += spelt_out(candidate, ("candidates", position))
    said = any(fragment.key[0] == index for fragment in reading.fragments)
    if candidate.get("finishReason") and not said:
        reading.ends.append((index,))


def _carry(event: Json, fragment: Fragment, text: str) -> Json:
    index, name = fragment.key
    part: dict[str, Any] = {"text": text, **({"thought": True} if name == "thought" else {})}
    candidates = [{"content": {"parts": [part], "role": "model"}, "index": index}]
    return {**{name: event[name] for name in ("modelVersion", "responseId") if name in event}, "candidates": candidates}
