"""Mask text, whole or as it comes. The two agree: however a text is cut, the parts masked are the whole masked.

A stream passes on everything up to the first place that could still become part of a value; `Openings` knows
where that is. What it has passed on it remembers for CONTEXT_LIMIT bytes, for a telling word stands before its
value. It never holds more than HOLD_LIMIT bytes, because no value is longer.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable

from services.ingress.masking.limits import CONTEXT_LIMIT
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Match, Scanner, Span, decode, encode, without_overlap


def mask_text(text: str, scanner: Scanner, replacer: Replacer) -> tuple[str, dict[str, int]]:
    """`text` without its sensitive values, and how many there were by entity. Raises MaskingError."""
    matches = scanner.scan(text)
    if not matches:
        return text, {}
    parts: list[str] = []
    done = 0
    for match in matches:
        parts += (text[done : match.start], replacer.replace(match))
        done = match.end
    parts.append(text[done:])
    return "".join(parts), dict(Counter(match.entity for match in matches))


def mask_bytes(data: bytes, scanner: Scanner, replacer: Replacer) -> tuple[bytes, dict[str, int]]:
    """The same for UTF-8. Bytes that are not UTF-8 pass unchanged."""
    masked, counts = mask_text(data.decode("utf-8", "surrogateescape"), scanner, replacer)
    return (masked.encode("utf-8", "surrogateescape") if counts else data), counts


class StreamMasker:
    """Masks text that arrives in parts.

    The parts may be cut anywhere: `"".join(map(feed, parts)) + close() == mask_text("".join(parts))`.
    After a MaskingError nothing more may be forwarded; every further call raises it again.
    """

    def __init__(self, scanner: Scanner, replacer: Replacer) -> None:
        self.counts: dict[str, int] = {}
        self._scanner = scanner
        self._replacer = replacer
        self._buffer = b""
        self._decided = 0  # values that start before this index of the buffer have been dealt with
        self._passed = 0  # the buffer up to here has been passed on, masked or as it was
        self._failed: Exception | None = None

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._buffer) - self._passed

    def feed(self, text: str) -> str:
        """As much of the masked text as cannot change any more. Raises MaskingError."""
        if not text:
            return ""
        return self._guarded(lambda: self._feed(encode(text)))

    def close(self) -> str:
        """The rest of the masked text. Raises MaskingError."""
        return self._guarded(self._close)

    def _feed(self, data: bytes) -> str:
        self._buffer += data
        spans, open_from = self._scanner.view(self._buffer, self._decided)
        return self._advance(spans, open_from)

    def _close(self) -> str:
        rest = self._advance(self._scanner.spans(self._buffer, self._decided), len(self._buffer))
        self._buffer, self._decided, self._passed = b"", 0, 0
        return rest

    def _guarded(self, step: Callable[[], str]) -> str:
        if self._failed:
            raise self._failed
        try:
            return step()
        except Exception as error:
            self._failed = error
            self._buffer = b""
            raise

    def _advance(self, spans: list[Span], until: int) -> str:
        """Deal with every value that starts before `until`, and pass on what precedes it."""
        final = [span for span in spans if self._decided <= span.start < until]
        parts: list[bytes] = []
        for start, end, entity in without_overlap(final, self._passed):
            parts += (self._buffer[self._passed : start], self._masked(start, end, entity))
            self._passed = end
        if self._passed < until:
            parts.append(self._buffer[self._passed : until])
            self._passed = until
        self._forget(until)
        return decode(b"".join(parts))

    def _masked(self, start: int, end: int, entity: str) -> bytes:
        self.counts[entity] = self.counts.get(entity, 0) + 1
        # Positions in a buffer mean nothing to others; a replacer looks at the entity and the value.
        value = decode(self._buffer[start:end])
        return encode(self._replacer.replace(Match(start, end, entity, value)))

    def _forget(self, until: int) -> None:
        """Drop what no later decision needs: all but the context of what is still open."""
        cut = max(0, until - CONTEXT_LIMIT)
        while cut and self._buffer[cut] & 0xC0 == 0x80:
            cut -= 1
        self._buffer = self._buffer[cut:]
        self._decided, self._passed = until - cut, self._passed - cut


class BytesStreamMasker:
    """The same for UTF-8 bytes: a character may be cut between parts, and what is not UTF-8 passes unchanged."""

    def __init__(self, scanner: Scanner, replacer: Replacer) -> None:
        self._masker = StreamMasker(scanner, replacer)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts

    @property
    def held(self) -> int:
        return self._masker.held

    def feed(self, data: bytes) -> bytes:
        """As much of the masked data as cannot change any more. Raises MaskingError."""
        return self._masker.feed(self._decoder.decode(data)).encode("utf-8", "surrogateescape")

    def close(self) -> bytes:
        """The rest of the masked data. Raises MaskingError."""
        rest = self._masker.feed(self._decoder.decode(b"", final=True)) + self._masker.close()
        return rest.encode("utf-8", "surrogateescape")
