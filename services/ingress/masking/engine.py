"""One pass of hyperscan over the text, for all anchors at once. Its counterpart in `re` terms is `finditer`.

Hyperscan is an automaton: its time is linear in the text whatever the patterns and whatever the text. It lets
go of the GIL while it scans, so each thread needs scratch space of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import hyperscan

from services.ingress.masking.errors import MaskingConfigError, MaskingError

Hit = tuple[int, int, int]
"""The number of an expression, where its match starts, and where it ends."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What to look for. The operator's `own` mean characters, not bytes: the text must then be valid UTF-8.

    Of a built-in one hyperscan tells the start; it cannot for patterns as large as an operator's may be.
    """

    text: str
    own: bool = False

    @property
    def flags(self) -> int:
        return int(hyperscan.HS_FLAG_UTF8 if self.own else hyperscan.HS_FLAG_SOM_LEFTMOST)


class Engine:
    """A compiled set of expressions. Raises MaskingConfigError when hyperscan cannot compile one."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._local = threading.local()
        self._empty = not expressions
        if self._empty:
            return
        try:
            self._database.compile(
                expressions=[expression.text.encode() for expression in expressions],
                ids=list(range(len(expressions))),
                elements=len(expressions),
                flags=[expression.flags for expression in expressions],
            )
        except hyperscan.HyperscanError as error:
            raise MaskingConfigError(f"a pattern cannot be compiled: {error}") from None

    def hits(self, data: bytes) -> list[Hit]:
        """Every match in `data` by rising end; one start may have many. The start of an own one is 0."""
        found: list[Hit] = []
        if self._empty:
            return found

        def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
            found.append((number, start, end))

        try:
            self._database.scan(data, on_match, scratch=self._scratch())
        except hyperscan.HyperscanError:
            raise MaskingError("the scan failed") from None
        return found

    def _scratch(self) -> hyperscan.Scratch:
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = self._database.scratch.clone()
        return scratch
