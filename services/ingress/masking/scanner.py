"""Find sensitive values in text. Its counterpart is `replace.Replacer`; `text` joins the two.

A scanner is compiled once for a set of entities and used by many requests. It works on UTF-8 bytes and reports
characters. Overlapping values: the leftmost wins, then the longest, then the order of the catalogue; what an
earlier value leaves uncovered of a later one is reported as well, so that no part of a value remains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from services.ingress.masking.custom import OwnPattern, own_patterns
from services.ingress.masking.detectors import CATALOGUE, STEP_BACK_LIMIT, Detector
from services.ingress.masking.engine import Engine, Expression, Hit
from services.ingress.masking.entities import ENTITIES, CustomPattern, resolve
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.openings import Openings

# No valid UTF-8 has these bytes (RFC 3629 section 3); `encode` writes them for what is no character.
_LONE_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class Match(NamedTuple):
    """A value found: characters `start` to `end` (exclusive) of the text are an `entity`."""

    start: int
    end: int
    entity: str
    value: str


class Span(NamedTuple):
    """A value found, in bytes. Sorts by the rule of precedence: leftmost, longest, first in the catalogue."""

    start: int
    minus_end: int
    rank: int
    entity: str


Candidate = tuple[Detector, int, int]
"""A detector whose anchor was hit, where that starts, and where the value may start."""


class View(NamedTuple):
    """What is known of a buffer: the values in it, and from where its end may still become one."""

    spans: list[Span]
    open_from: int


class Scanner:
    """Looks for `entities` (names or sets), all of `custom`, and `deny_words`.

    Raises MaskingConfigError when a name is unknown or a pattern cannot be searched for.
    """

    def __init__(
        self,
        entities: Iterable[str],
        custom: Sequence[CustomPattern] = (),
        deny_words: Sequence[str] = (),
    ) -> None:
        self.entities = resolve(entities, custom)
        wanted = [detector for detector in CATALOGUE if detector.entity in self.entities]
        self._own = own_patterns(custom, deny_words)
        names = [*(each.name for each in self._own), *ENTITIES]
        self._ranks = {name: rank for rank, name in enumerate(dict.fromkeys(names))}
        families = _by_anchor(wanted)
        self._families = list(families.values())
        self._engine = Engine(
            [Expression(anchor) for anchor in families] + [Expression(each.expression, own=True) for each in self._own]
        )
        self._openings = Openings(wanted, [each.pattern for each in self._own])

    def scan(self, text: str) -> list[Match]:
        """Every value in `text`, in order and without overlap. Raises MaskingError when a detector fails."""
        data = encode(text)
        spans = self.spans(data)
        return list(_matches(data, without_overlap(spans), len(data) == len(text))) if spans else []

    def spans(self, data: bytes, since: int = 0) -> list[Span]:
        """Every value in the UTF-8 `data` that starts at `since` or later, sorted, overlaps included."""
        hits = self._hits(data)
        return self._spans(data, hits, list(self._candidates(hits, data, since))) if hits else []

    def places(self, data: bytes) -> list[tuple[int, int]]:
        """Where in the UTF-8 `data` a value may begin: start and end of each sign of one; where there is none, is none.

        A quick answer for many short texts at once, joined by line ends: a text without a sign in it holds no value.
        """
        return [(start, end) for _, start, end in self._hits(data)]

    def view(self, data: bytes, since: int) -> View:
        """The values that more text cannot change, and from which index on it still may."""
        hits = self._hits(data)
        open_from = self._openings.beginning(data)
        candidates: list[Candidate] = []
        for detector, at, start in self._candidates(hits, data, since):
            if at - STEP_BACK_LIMIT >= open_from:
                break  # they come in order: the rest is not decided yet
            if start >= open_from:
                continue
            candidates.append((detector, at, start))
            open_from = min(open_from, self._openings.begun(data, detector, start))
        spans = self._spans(data, hits, candidates) if hits else []
        return View(spans, max(since, open_from))

    def _hits(self, data: bytes) -> list[Hit]:
        return self._engine.hits(_valid_utf8(data) if self._own else data)

    def _candidates(self, hits: list[Hit], data: bytes, since: int) -> Iterator[Candidate]:
        """The detectors to try, by where their anchors start, once each; values before `since` are done with."""
        starts = {(at, number) for number, at, _ in hits if number < len(self._families)}
        for at, number in sorted(starts):
            for detector in self._families[number]:
                start = detector.value_from(data, at)
                if start is not None and start + detector.gap >= since:
                    yield detector, at, start

    def _spans(self, data: bytes, hits: list[Hit], candidates: list[Candidate]) -> list[Span]:
        found = {span for detector, _, start in candidates if (span := self._try(detector, data, start))}
        if self._own:
            found.update(self._own_spans(data, hits))
        return sorted(found)

    def _own_spans(self, data: bytes, hits: list[Hit]) -> Iterator[Span]:
        """The longest match of each start; hits come by rising end, so that it is the last. None needs a check."""
        longest: dict[tuple[OwnPattern, int], int] = {}
        valid = _valid_utf8(data)
        for number, _, end in hits:
            if number >= len(self._families):
                own = self._own[number - len(self._families)]
                longest[own, own.start(valid, end)] = end
        for (own, start), end in longest.items():
            yield Span(start, -end, self._ranks[own.name], own.name)

    def _try(self, detector: Detector, data: bytes, start: int) -> Span | None:
        try:
            found = detector.find(data, start)
        except Exception as error:
            # The original may quote the value: only its type is kept.
            reason = type(error).__name__
            raise MaskingError(f"the detector of {detector.entity} failed: {reason}") from None
        return Span(found[0], -found[1], self._ranks[detector.entity], detector.entity) if found else None


@lru_cache(maxsize=128)
def scanner_for(
    entities: frozenset[str],
    custom: tuple[CustomPattern, ...] = (),
    deny_words: tuple[str, ...] = (),
) -> Scanner:
    """The scanner of a set, compiled once (some tens of milliseconds) and kept."""
    return Scanner(entities, custom, deny_words)


def without_overlap(spans: Iterable[Span], done: int = 0) -> Iterator[tuple[int, int, str]]:
    """(start, end, entity) of sorted spans, cut to what neither `done` nor an earlier span covers."""
    for start, minus_end, _, entity in spans:
        if -minus_end > done:
            yield max(start, done), -minus_end, entity
            done = -minus_end


def encode(text: str) -> bytes:
    """UTF-8, in which lone surrogates (JSON's `\\ud800`) survive."""
    return text.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _matches(data: bytes, spans: Iterable[tuple[int, int, str]], is_ascii: bool) -> Iterator[Match]:
    seen = characters = 0
    for start, end, entity in spans:
        value = decode(data[start:end])
        characters = start if is_ascii else characters + len(decode(data[seen:start]))
        yield Match(characters, characters + len(value), entity, value)
        seen, characters = end, characters + len(value)


def _by_anchor(detectors: Iterable[Detector]) -> dict[str, list[Detector]]:
    families: dict[str, list[Detector]] = {}
    for detector in detectors:
        families.setdefault(detector.anchor, []).append(detector)
    return families


def _valid_utf8(data: bytes) -> bytes:
    """`data`, its lone surrogates replaced by as many bytes of U+FFFD: hyperscan must not see them."""
    return data if data.isascii() else _LONE_SURROGATE.sub("\ufffd".encode(), data)
