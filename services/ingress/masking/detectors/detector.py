"""One detector: where to look, what a value looks like, and whether this one is real.

Looking goes in three steps, each far rarer than the one before: hyperscan finds the `anchor` of every detector
in one pass over the text; Python's `re` tries `pattern` there; `check` accepts the value or not.
The catalogue of detectors is `detectors.CATALOGUE`; who runs them is `scanner.Scanner`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from services.ingress.masking.detectors.checks import is_placeholder
from services.ingress.masking.limits import HOLD_LIMIT

# How far before its anchor a value may start: the local part of an address has 64 characters.
STEP_BACK_LIMIT = 63

Check = Callable[[bytes], int]
"""How many leading bytes of a candidate are the value: 0 refuses it, less than all drops a tail."""


def accept(value: bytes) -> int:
    return len(value)


def when(predicate: Callable[[bytes], bool]) -> Check:
    """A check that takes the candidate whole or not at all."""
    return lambda value: len(value) if predicate(value) else 0


@dataclass(frozen=True, eq=False)
class Detector:
    """A way to find one entity; an entity may have several.

    `anchor` is a hyperscan expression. Where it starts, `context` must match (it is no part of the value), then
    after at most `gap` characters on the same line `pattern`, the value, then `after`. With a context the anchor
    may reach one character into the value, no further; without one, every value starts with its anchor.
    `whole_word` refuses a value that follows a letter or digit. All are over bytes: their `\\w` is ASCII.

    Values that do not start with their anchor (an address is found by its @) step back over the characters of
    `back`, at most STEP_BACK_LIMIT, of which `begin` says where the value begins; and they say in `opening` what
    stands there before the anchor is complete.

    Two rules keep streaming equal to masking whole, and `tests/masking/test_streaming.py` tries to break them:
    the text before a value alone says where the value starts, and a lookahead sees one character only.
    """

    entity: str
    anchor: str
    pattern: str
    check: Check = accept
    context: str = ""
    gap: int = 0
    after: str = ""
    whole_word: bool = False
    back: bytes = b""
    begin: Callable[[bytes], int] = len
    opening: str = ""

    def value_from(self, data: bytes, at: int) -> int | None:
        """Where the value whose anchor starts at `at` may start, or None when its context is not there."""
        if not self.context:
            return self._step_back(data, at) if self.back else at
        match = self._context.match(data, at)
        return match.end() if match else None

    def find(self, data: bytes, since: int) -> tuple[int, int] | None:
        """The value (start, end) at `since`, or up to `gap` after; or None. At most HOLD_LIMIT bytes long."""
        match = self._regex.match(data, since)
        if match is None:
            return None
        start, end = match.span(1)
        end = _whole_character(data, min(end, start + HOLD_LIMIT))
        value = data[start:end]
        length = 0 if is_placeholder(value) else self.check(value)
        return (start, start + length) if length else None

    @cached_property
    def _regex(self) -> re.Pattern[bytes]:
        before = "(?<![A-Za-z0-9])" if self.whole_word else ""
        gap = rf"[^\n]{{0,{self.gap}}}?" if self.gap else ""
        return re.compile(f"{before}{gap}({self.pattern}){self.after}".encode("ascii"))

    @cached_property
    def _context(self) -> re.Pattern[bytes]:
        return re.compile(self.context.encode("ascii"))

    def _step_back(self, data: bytes, at: int) -> int:
        run = data[max(0, at - STEP_BACK_LIMIT) : at + 1]
        run = run[len(run.rstrip(self.back)) :]
        return at + 1 - len(run) + self.begin(run)


def _whole_character(data: bytes, end: int) -> int:
    """`end`, moved back so that it does not fall inside a UTF-8 character."""
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end
