"""The operator's own patterns and deny words: found by hyperscan, which says where they end, and RE2, from where.

A pattern is written as for Python's `re`, read by its parser and written out again for both engines, so that what
is searched for and what a stream holds back come from one syntax tree (`prefixes`). `x*` and `x+` mean at most
CUSTOM_REPEAT_LIMIT repetitions: a match must have a length. What has no such meaning is refused at start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from typing import Any

from services.ingress.masking.entities import DENY_WORD, CustomPattern
from services.ingress.masking.errors import MaskingConfigError, MaskingError
from services.ingress.masking.limits import CUSTOM_PATTERN_LIMIT, HOLD_LIMIT
from services.ingress.masking.linear import compile_ending
from services.ingress.masking.prefixes import Node, Nodes, bounded, byte_width, parse

# Spelt out, for the engines differ on what \\s holds.
_CATEGORIES = {
    sre.CATEGORY_DIGIT: "0-9",
    sre.CATEGORY_NOT_DIGIT: r"\x{0}-\x{2f}\x{3a}-\x{10ffff}",
    sre.CATEGORY_SPACE: r"\x{9}-\x{d}\x{20}",
    sre.CATEGORY_NOT_SPACE: r"\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{10ffff}",
    sre.CATEGORY_WORD: "0-9A-Za-z_",
    sre.CATEGORY_NOT_WORD: r"\x{0}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{5e}\x{60}\x{7b}-\x{10ffff}",
}


class OwnPattern:
    """One pattern of the operator's, as the entity `name`. Raises MaskingConfigError when it cannot be searched."""

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        self.pattern = pattern
        try:
            self.expression = expression(pattern)
            self._width = byte_width(parse(pattern))[1]
            self._regex = compile_ending(self.expression, latin=False)
        except MaskingConfigError as error:
            raise MaskingConfigError(f"{name}: {error}") from None

    def start(self, data: bytes, end: int) -> int:
        """The leftmost start of a match that ends at `end`. Raises MaskingError when there is none."""
        since = max(0, end - self._width)
        match = self._regex.search(data[since:end])
        if match is None:
            raise MaskingError(f"the two engines disagree about the pattern {self.name}")
        return since + int(match.start())


def own_patterns(custom: Sequence[CustomPattern], deny_words: Sequence[str]) -> list[OwnPattern]:
    """Deny words are one entity. Raises MaskingConfigError for too many, or one that cannot work."""
    if len(custom) + len(deny_words) > CUSTOM_PATTERN_LIMIT:
        raise MaskingConfigError(f"more custom patterns and deny words than {CUSTOM_PATTERN_LIMIT}")
    named = [OwnPattern(each.name, each.pattern) for each in custom]
    return named + [OwnPattern(DENY_WORD, word_pattern(word)) for word in deny_words]


def expression(pattern: str) -> str:
    """`pattern` as hyperscan writes it. Raises MaskingConfigError when it cannot be searched for in a stream."""
    tree = parse(pattern)
    low, high = byte_width(tree)
    if low == 0:
        raise MaskingConfigError("the pattern matches the empty string")
    if high > HOLD_LIMIT:
        raise MaskingConfigError(f"a match may be {high} bytes long, the limit is {HOLD_LIMIT}: bound its counts")
    return _write(tree)


def word_pattern(word: str) -> str:
    """A deny word as a pattern: literal, in any case, not inside a longer word."""
    if not word.strip():
        raise MaskingConfigError("a deny word is empty")
    before = r"\b" if _is_word(word[0]) else ""
    after = r"\b" if _is_word(word[-1]) else ""
    return f"(?i){before}{re.escape(word)}{after}"


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def _write(nodes: Nodes) -> str:
    return "".join(_write_node(node) for node in nodes)


def _write_node(node: Node) -> str:
    op, av = node
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        low, high, item = av
        return f"(?:{_write(item)}){{{low},{bounded(low, high)}}}"
    if op is sre.BRANCH:
        return "(?:" + "|".join(_write(branch) for branch in av[1]) + ")"
    if op is sre.SUBPATTERN:
        return f"(?{_flags(av[1])}{'-' + _flags(av[2]) if av[2] else ''}:{_write(av[3])})"
    if op is sre.AT and av is sre.AT_BOUNDARY:
        return r"\b"
    return _write_position(op, av)


def _write_position(op: Any, av: Any) -> str:
    if op is sre.ANY:
        return "."
    if op is sre.LITERAL:
        return rf"\x{{{av:x}}}"
    if op is sre.NOT_LITERAL:
        return rf"[^\x{{{av:x}}}]"
    if op is sre.IN:
        return "[" + "".join(_class_item(*item) for item in av) + "]"
    raise MaskingConfigError(f"{str(op).lower()} is not supported: no lookaround, back reference, ^ or $")


def _class_item(op: Any, av: Any) -> str:
    if op is sre.NEGATE:
        return "^"
    if op is sre.LITERAL:
        return rf"\x{{{av:x}}}"
    if op is sre.RANGE:
        return rf"\x{{{av[0]:x}}}-\x{{{av[1]:x}}}"
    return _CATEGORIES[av]


def _flags(flags: int) -> str:
    return ("i" if flags & re.IGNORECASE else "") + ("s" if flags & re.DOTALL else "")
