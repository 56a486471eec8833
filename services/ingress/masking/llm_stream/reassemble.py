"""The whole answer out of a stream of deltas, for the record: one JSON object, each text under its name.

    {"model": "gpt-5", "0.content": "Hello", "0.tool_calls.0.function.arguments": "{…}", "usage": {…}}

Events that carry no such text are left out, except an error; a stream of no provider that we know is None.
"""

from __future__ import annotations

from typing import Any

import orjson

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream import sse
from services.ingress.masking.llm_stream.limits import CHANNELS_LIMIT, FACT_LIMIT, RECORDED_EVENT_LIMIT
from services.ingress.masking.llm_stream.masker import read
from services.ingress.masking.llm_stream.shapes import Fragment, Key
from services.ingress.masking.llm_stream.splice import parse

#: Members of any event that the record shows once, as they were last.
FACTS = ("model", "usage", "error")


class Reassembly:
    """Puts the answer together while it streams by. Keeps `limit` characters of text, and the facts to the end."""

    def __init__(self, limit: int) -> None:
        #: Whether any event was one of a provider that we know.
        self.known = False
        #: Whether text was left out: there was more than the limit, or an event that nobody can read.
        self.cut = False
        self._room = limit
        self._framing = sse.Framing(RECORDED_EVENT_LIMIT)
        self._broken = False
        self._texts: dict[Key, list[str]] = {}
        self._facts: dict[str, Any] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._broken:
            return
        try:
            events = self._framing.receive(data)
        except MaskingError:
            self._broken = self.cut = True
            return
        for event in events:
            self._take(event)

    def answer(self, *, complete: bool) -> dict[str, Any] | None:
        """The texts by name, None for no provider's stream. Without `complete`, an event that was cut off is left out.

        To be asked for once, at the end.
        """
        if complete and not self._broken and self._framing.rest:
            self._take(sse.parse(self._framing.rest))
        if not self.known:
            return None
        return {**self._facts, **{_name(key): "".join(parts) for key, parts in self._texts.items()}}

    def _take(self, event: sse.Event) -> None:
        value = _value(event.data) if event.data is not None else None
        if value is None:
            return
        reading = read(value)
        self.known = self.known or reading is not None
        for fragment in reading.fragments if reading else ():
            self._keep(fragment)
        self._facts |= _facts(value)

    def _keep(self, fragment: Fragment) -> None:
        parts = self._texts.get(fragment.key)
        if parts is None:
            self._room -= len(_name(fragment.key))
            if len(self._texts) >= CHANNELS_LIMIT or self._room <= 0:
                self.cut = True
                return
            parts = self._texts[fragment.key] = []
        if len(fragment.text) > self._room:
            self.cut = True
        if self._room > 0:
            parts.append(fragment.text[: self._room])
            self._room -= len(parts[-1])


def reassemble(stream: bytes, *, complete: bool = True) -> dict[str, Any] | None:
    """The texts of a whole stream by name."""
    reassembly = Reassembly(len(stream))
    reassembly.feed(stream)
    return reassembly.answer(complete=complete)


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
            found |= {name: node[name] for name in FACTS if node.get(name) and _is_short(node[name])}
    return found


def _is_short(fact: Any) -> bool:
    if isinstance(fact, str):
        return len(fact) <= FACT_LIMIT
    try:
        return len(orjson.dumps(fact)) <= FACT_LIMIT
    except orjson.JSONEncodeError:
        return False


def _name(key: Key) -> str:
    return ".".join(str(step) for step in key if step != "")
