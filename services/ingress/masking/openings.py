"""What at the end of a buffer may still become a value: where a stream must hold back.

Two questions find it. Is the end the beginning of some *anchor*? All anchors' prefixes are one RE2 expression,
run backwards from the end, so that its cost is the length of what is held and not of the buffer. And for each
anchor that *was* hit: is all that follows, to the end, still the beginning of that detector's value? Without a
hit there is no value, and with a context but no anchor there is nothing to hold yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import re2

from services.ingress.masking.detectors import Detector
from services.ingress.masking.errors import MaskingConfigError, MaskingError
from services.ingress.masking.limits import CONTEXT_LIMIT, HOLD_LIMIT
from services.ingress.masking.prefixes import prefix_pattern

# RE2 builds its automaton lazily in this much memory, and starts again when it is full.
_AUTOMATON_BYTES = 16 << 20

Hit = tuple[int, int, int]


class Openings:
    """`families` are the detectors of each anchor, by the anchor's number; `own` are the custom patterns."""

    def __init__(self, families: Mapping[int, Sequence[Detector]], own: Iterable[str]) -> None:
        detectors = [each for family in families.values() for each in family if not each.context]
        beginnings = [*map(_beginning, detectors), *map(prefix_pattern, own)]
        self._beginnings = _compiled("|".join(dict.fromkeys(beginnings))) if beginnings else None
        self._families = {
            number: [(each, _compiled(prefix_pattern(each.pattern + each.after))) for each in family]
            for number, family in families.items()
        }

    def start(self, data: bytes, hits: Iterable[Hit]) -> int:
        """The least index of `data` from which its end may be an incomplete value; `len(data)` for none."""
        window = max(0, len(data) - HOLD_LIMIT)
        try:
            start = min(_search(self._beginnings, data, window), self._begun(data, hits, window))
        except re2.error:
            raise MaskingError("the search for incomplete values failed") from None
        while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
            start -= 1
        return start

    def _begun(self, data: bytes, hits: Iterable[Hit], window: int) -> int:
        """The earliest start of a value whose anchor is complete and whose end is not there yet."""
        least = len(data)
        recent = {(number, at) for number, at, _ in hits if at >= window - CONTEXT_LIMIT}
        for number, at in recent:
            for detector, regex in self._families.get(number, ()):
                since = detector.value_from(data, at)
                if since is not None and since < least:
                    start = _search(regex, data, max(since, window))
                    least = min(least, start) if start <= max(since, window) + detector.gap else least
        return least


def _beginning(detector: Detector) -> str:
    """An underscore before it is held with the word, for RE2 has no boundary that would let it go."""
    prefix = prefix_pattern(detector.opening or detector.anchor)
    return rf"(?:\b|_)(?:{prefix})" if detector.whole_word else prefix


def _search(regex: Any, data: bytes, since: int) -> int:
    match = regex.search(data, since) if regex else None
    return int(match.start()) if match else len(data)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    try:
        return re2.compile(rf"(?s)(?:{pattern})\z".encode("ascii"), options)
    except re2.error as error:
        raise MaskingConfigError(f"a pattern cannot be compiled: {error}") from None
