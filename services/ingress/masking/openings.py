"""What at the end of a buffer may still become a value: where a stream must hold back.

Two questions find it. Is the end the beginning of some *anchor*? All anchors' prefixes are one RE2 expression,
run backwards from the end, so that its cost is the length of what is held and not of the buffer. And for each
anchor that *was* hit: is all that follows, to the end, still the beginning of that detector's value? Without a
hit there is no value, and with a context but no anchor there is nothing to hold yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import re2

from services.ingress.masking.detectors import Detector
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.limits import HOLD_LIMIT
from services.ingress.masking.linear import compile_ending
from services.ingress.masking.prefixes import byte_width, parse, prefix_pattern

# Counts above this are `*` in the joined expression, which keeps its automaton small and warm. What that accepts
# too much is cut by looking no further back than the longest anchor.
_LOOSE_COUNT = 4


class Openings:
    """For `detectors`, and `own` custom patterns."""

    def __init__(self, detectors: Sequence[Detector], own: Sequence[str]) -> None:
        plain = [each for each in detectors if not each.context]
        self._beginnings = (
            _Beginnings([_start_of(each) for each in plain], map(_beginning, plain)),
            _Beginnings(own, map(prefix_pattern, own)),
        )
        self._values = {each: compile_ending(prefix_pattern(each.pattern + each.after)) for each in detectors}

    def beginning(self, data: bytes) -> int:
        """From where the end of `data` may be the beginning of an anchor; `len(data)` when it is none."""
        try:
            return min(beginnings.start(data) for beginnings in self._beginnings)
        except re2.error:
            raise MaskingError("the search for incomplete values failed") from None

    def begun(self, data: bytes, detector: Detector, since: int) -> int:
        """From where the value of `detector` that may start at `since` is still open; or `len(data)`."""
        earliest = max(since, len(data) - HOLD_LIMIT)
        if earliest > since + detector.gap:
            return _character_start(data, earliest)
        try:
            return _character_start(data, _open_from(self._values[detector], data, earliest, detector.gap))
        except re2.error:
            raise MaskingError("the search for incomplete values failed") from None


class _Beginnings:
    """Whether the end of a buffer is the beginning of one of `patterns`, given the `prefixes` of each."""

    def __init__(self, patterns: Iterable[str], prefixes: Iterable[str]) -> None:
        self._width = max((byte_width(parse(pattern))[1] for pattern in patterns), default=0)
        joined = "|".join(dict.fromkeys(prefixes))
        self._regex = compile_ending(joined) if joined else None

    def start(self, data: bytes) -> int:
        if self._regex is None:
            return len(data)
        match = self._regex.search(data, max(0, len(data) - self._width))
        return _character_start(data, int(match.start())) if match else len(data)


def _start_of(detector: Detector) -> str:
    return detector.opening or detector.anchor


def _beginning(detector: Detector) -> str:
    """An underscore before it is held with the word, for RE2 has no boundary that would let it go."""
    prefix = prefix_pattern(_start_of(detector), _LOOSE_COUNT)
    return rf"(?:\b|_)(?:{prefix})" if detector.whole_word else prefix


def _open_from(regex: Any, data: bytes, since: int, gap: int) -> int:
    """Where the value that starts at `since`, or within `gap` after it, is still open; or `len(data)`."""
    if not gap:
        return since if regex.fullmatch(data, since) else len(data)
    match = regex.search(data, since)
    return int(match.start()) if match and match.start() <= since + gap else len(data)


def _character_start(data: bytes, at: int) -> int:
    """`at`, moved back so that it does not fall inside a UTF-8 character."""
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
