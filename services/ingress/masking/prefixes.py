"""From a pattern, the pattern of everything that could still *become* a match.

`pattern` says what a value looks like; `prefix_pattern(pattern)` matches exactly the beginnings of such values,
the empty one and the whole one included. Deriving one from the other keeps the two from drifting apart.
Its counterpart is `openings`, which decides with it where a stream must hold back.

The rules, on the syntax tree of Python's own `re` (p(x) reads "a prefix of x"):

    p(c) = c?                     p(xy)     = p(x) | x p(y)
    p(x|y) = p(x) | p(y)          p(x{m,n}) = x{0,n-1} p(x)

Lookarounds are dropped and long counts become `*`: the result may accept more, never less.
The output is for RE2 over bytes, which runs in linear time.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from services.ingress.masking.errors import MaskingConfigError
from services.ingress.masking.limits import CUSTOM_REPEAT_LIMIT

Node = tuple[Any, Any]
Nodes = Sequence[Node]

# Counts above this become `*`: RE2 unrolls a count into as many states.
COUNT_LIMIT = 512
_HIGH = r"[\x80-\xff]+"
_ASCII = frozenset(range(128))
_CATEGORIES = {
    sre.CATEGORY_DIGIT: frozenset(b"0123456789"),
    sre.CATEGORY_SPACE: frozenset(b" \t\n\r\f\v"),
    sre.CATEGORY_WORD: frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
}
_NOT_CATEGORIES = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
}


REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT})
_ASSERTIONS = frozenset({sre.ASSERT, sre.ASSERT_NOT})
_SINGLE = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN})


@dataclass(frozen=True, slots=True)
class CharSet:
    """The characters one position may hold: the ASCII ones by number, and whether any other may."""

    ascii: frozenset[int]
    high: bool

    @property
    def bytes_wide(self) -> int:
        return 4 if self.high else 1


def parse(pattern: str) -> Nodes:
    """The syntax tree of `pattern`. Raises MaskingConfigError when it is not a pattern."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise MaskingConfigError(f"not a regular expression: {error}") from None
    flags = tree.state.flags & (re.IGNORECASE | re.DOTALL)
    return [(sre.SUBPATTERN, (None, flags, 0, tree))]


def prefix_pattern(pattern: str, count_limit: int = COUNT_LIMIT) -> str:
    """The RE2 expression of the beginnings of what `pattern` matches; counts above `count_limit` become `*`."""
    return _Prefixes(count_limit).prefix(parse(pattern), 0)


class _Prefixes:
    """Writes trees as RE2 expressions: `full` what they match, `prefix` its beginnings."""

    def __init__(self, count_limit: int) -> None:
        self._count_limit = count_limit

    def full(self, nodes: Nodes, flags: int) -> str:
        return "".join(self._full_node(node, flags) for node in nodes)

    def _full_node(self, node: Node, flags: int) -> str:
        op, av = node
        if op in REPEATS:
            low, high, item = av
            return f"(?:{self.full(item, flags)}){self._count(low, high)}"
        if op is sre.BRANCH:
            return "(?:" + "|".join(self.full(branch, flags) for branch in av[1]) + ")"
        if op is sre.SUBPATTERN:
            return f"(?:{self.full(av[3], scoped(flags, av))})"
        if op in _ASSERTIONS:
            return ""
        if op is sre.AT:
            return r"\b" if av is sre.AT_BOUNDARY else ""
        return _position(charset(node, flags))

    def prefix(self, nodes: Nodes, flags: int) -> str:
        if not nodes:
            return ""
        head, rest = nodes[0], nodes[1:]
        first = self._prefix_node(head, flags)
        if not rest:
            return first
        longer = self._full_node(head, flags) + self.prefix(rest, flags)
        return f"(?:{longer}|{first})" if first else f"(?:{longer})?"

    def _prefix_node(self, node: Node, flags: int) -> str:
        op, av = node
        if op in REPEATS:
            return self._prefix_repeat(av[1], av[2], flags)
        if op is sre.BRANCH:
            return "(?:" + "|".join(self.prefix(branch, flags) for branch in av[1]) + ")"
        if op is sre.SUBPATTERN:
            return self.prefix(av[3], scoped(flags, av))
        if op in _ASSERTIONS or op is sre.AT:
            return ""
        return f"{_position(charset(node, flags))}?"

    def _prefix_repeat(self, high: int, item: Nodes, flags: int) -> str:
        whole = self.full(item, flags)
        if len(item) == 1 and item[0][0] in _SINGLE:
            return f"(?:{whole}){self._count(0, high)}"
        before = f"(?:{whole}){self._count(0, high - 1)}" if high > 1 else ""
        return f"(?:{before}{self.prefix(item, flags)})"

    def _count(self, low: int, high: int) -> str:
        if high is sre.MAXREPEAT or high > self._count_limit:
            return "*" if low == 0 else "+"
        return f"{{{low},{high}}}"


# --- counts, flags and characters --------------------------------------------------------------------------


def scoped(flags: int, subpattern: Any) -> int:
    """The flags inside a group, such as `(?i:…)`."""
    _, add, remove, _ = subpattern
    return int((flags | add) & ~remove)


def bounded(low: int, high: Any) -> int:
    """The most repetitions that a count allows; `x*` and `x+` allow CUSTOM_REPEAT_LIMIT."""
    return max(low, CUSTOM_REPEAT_LIMIT) if high is sre.MAXREPEAT else int(high)


def byte_width(nodes: Nodes, flags: int = 0) -> tuple[int, int]:
    """The fewest and the most bytes that a match of `nodes` may have."""
    widths = [_node_width(node, flags) for node in nodes]
    return sum(low for low, _ in widths), sum(high for _, high in widths)


def _node_width(node: Node, flags: int) -> tuple[int, int]:
    op, av = node
    if op in REPEATS:
        low, high = byte_width(av[2], flags)
        return low * av[0], high * bounded(av[0], av[1])
    if op is sre.BRANCH:
        widths = [byte_width(branch, flags) for branch in av[1]]
        return min(low for low, _ in widths), max(high for _, high in widths)
    if op is sre.SUBPATTERN:
        return byte_width(av[3], scoped(flags, av))
    if op is sre.AT or op in _ASSERTIONS:
        return 0, 0
    return 1, charset(node, flags).bytes_wide


def charset(node: Node, flags: int) -> CharSet:
    """The characters that `node`, one position of a pattern, may hold. Raises MaskingConfigError."""
    op, av = node
    if op is sre.ANY:
        return CharSet(_ASCII if flags & re.DOTALL else _ASCII - {10}, True)
    if op is sre.LITERAL:
        return _folded(_single(av), flags)
    if op is sre.NOT_LITERAL:
        return CharSet(_ASCII - _folded(_single(av), flags).ascii, True)
    if op is sre.IN:
        return _class(av, flags)
    raise MaskingConfigError(f"{str(op).lower()} is not supported in a pattern")


def _class(items: Nodes, flags: int) -> CharSet:
    negated = items[0][0] is sre.NEGATE
    numbers: frozenset[int] = frozenset()
    high = False
    for op, av in items[negated:]:
        part = _class_item(op, av)
        numbers, high = numbers | part.ascii, high or part.high
    folded = _folded(CharSet(numbers, high), flags)
    return CharSet(_ASCII - folded.ascii, True) if negated else folded


def _class_item(op: Any, av: Any) -> CharSet:
    if op is sre.LITERAL:
        return _single(av)
    if op is sre.RANGE:
        return CharSet(frozenset(range(av[0], min(av[1], 127) + 1)), av[1] > 127)
    if av in _NOT_CATEGORIES:
        return CharSet(_ASCII - _CATEGORIES[_NOT_CATEGORIES[av]], True)
    return CharSet(_CATEGORIES[av], False)


def _single(code: int) -> CharSet:
    return CharSet(frozenset({code}), False) if code < 128 else CharSet(frozenset(), True)


def _folded(chars: CharSet, flags: int) -> CharSet:
    """Both cases of every letter. K and S also fold with the Kelvin sign and the long s, beyond ASCII."""
    if not flags & re.IGNORECASE:
        return chars
    numbers = {ord(case) for code in chars.ascii for case in (chr(code).lower(), chr(code).upper())}
    if chars.high:
        numbers |= set(b"kKsS")
    return CharSet(frozenset(numbers), chars.high or not numbers.isdisjoint(b"kKsS"))


def _position(chars: CharSet) -> str:
    """One position as RE2 over bytes writes it; a character beyond ASCII is any run of high bytes."""
    if not chars.ascii:
        return _HIGH
    numbers = sorted(chars.ascii)
    every = len(numbers) == 128
    body = r"\x00-\x7f" if every else "".join(rf"\x{number:02x}" for number in numbers)
    return rf"(?:[{body}]|{_HIGH})" if chars.high else f"[{body}]"
