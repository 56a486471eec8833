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

Node = tuple[Any, Any]
Nodes = Sequence[Node]

# Counts above this become `*`: RE2 unrolls a count into as many states.
_COUNT_LIMIT = 200
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


def prefix_pattern(pattern: str) -> str:
    """The RE2 expression of the beginnings of what `pattern` matches."""
    return _prefix(parse(pattern), 0)


# --- full and partial matches ------------------------------------------------------------------------------


def _full(nodes: Nodes, flags: int) -> str:
    return "".join(_full_node(node, flags) for node in nodes)


def _full_node(node: Node, flags: int) -> str:
    op, av = node
    if op in _REPEATS:
        low, high, item = av
        return f"(?:{_full(item, flags)}){_count(low, high)}"
    if op is sre.BRANCH:
        return "(?:" + "|".join(_full(branch, flags) for branch in av[1]) + ")"
    if op is sre.SUBPATTERN:
        return f"(?:{_full(av[3], _scoped(flags, av))})"
    if op in _ASSERTIONS:
        return ""
    if op is sre.AT:
        return r"\b" if av is sre.AT_BOUNDARY else ""
    return _position(charset(node, flags))


def _prefix(nodes: Nodes, flags: int) -> str:
    if not nodes:
        return ""
    head, rest = nodes[0], nodes[1:]
    first = _prefix_node(head, flags)
    if not rest:
        return first
    whole = _full_node(head, flags)
    return f"(?:{whole}{_prefix(rest, flags)}|{first})" if first else f"(?:{whole}{_prefix(rest, flags)})?"


def _prefix_node(node: Node, flags: int) -> str:
    op, av = node
    if op in _REPEATS:
        return _prefix_repeat(av[1], av[2], flags)
    if op is sre.BRANCH:
        return "(?:" + "|".join(_prefix(branch, flags) for branch in av[1]) + ")"
    if op is sre.SUBPATTERN:
        return _prefix(av[3], _scoped(flags, av))
    if op in _ASSERTIONS or op is sre.AT:
        return ""
    return f"{_position(charset(node, flags))}?"


def _prefix_repeat(high: int, item: Nodes, flags: int) -> str:
    whole = _full(item, flags)
    if len(item) == 1 and item[0][0] in _SINGLE:
        return f"(?:{whole}){_count(0, high)}"
    before = f"(?:{whole}){_count(0, high - 1)}" if high > 1 else ""
    return f"(?:{before}{_prefix(item, flags)})"


# --- counts, flags and characters --------------------------------------------------------------------------

_REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT})
_ASSERTIONS = frozenset({sre.ASSERT, sre.ASSERT_NOT})
_SINGLE = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN})


def _count(low: int, high: int) -> str:
    if high is sre.MAXREPEAT or high > _COUNT_LIMIT:
        return "*" if low == 0 else "+"
    return f"{{{low},{high}}}"


def _scoped(flags: int, subpattern: Any) -> int:
    _, add, remove, _ = subpattern
    return int((flags | add) & ~remove)


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
