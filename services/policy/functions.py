"""The functions we add to CEL, or put in the place of the engine's own.

`matches` is RE2's, each pattern compiled once: the engine compiles its pattern at every call (0.4 ms where a word class
stands in it) and lets `(a{1,100}){1,100}` take seconds. RE2 is what the CEL definition names, and linear in the text.
Errors raised here end up in a log line of the engine's, so that none may quote an argument (G4).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

#: Bytes one compiled pattern and its automata may take.
PATTERN_MEMORY = 1024 * 1024
#: Compiled patterns kept; a policy's literals come first, computed patterns push each other out.
PATTERN_CACHE = 512


class PatternRefused(ValueError):
    """A regular expression RE2 does not take; the text says why, in RE2's words."""


@lru_cache(maxsize=PATTERN_CACHE)
def pattern(text: str) -> Any:
    """The compiled pattern. Raises PatternRefused."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a pattern"
        raise PatternRefused(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def _matches(text: Any, expression: Any) -> bool:
    if not isinstance(text, str) or not isinstance(expression, str):
        raise TypeError("matches takes text and a pattern")
    try:
        return pattern(expression).search(text) is not None
    except PatternRefused:
        raise ValueError("the pattern is not one of RE2's") from None


def _lower(text: Any) -> str:
    return _text(text).translate(_TO_LOWER)


def _upper(text: Any) -> str:
    return _text(text).translate(_TO_UPPER)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("only text has upper and lower case")
    return value


_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_TO_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}

#: What the engine is told to call where a condition says `matches`: its own method of that name cannot be replaced.
RENAMED: Mapping[str, str] = {"matches": "re2_matches"}

IMPLEMENTATIONS: Mapping[str, Callable[..., Any]] = {
    "re2_matches": _matches,
    "lowerAscii": _lower,
    "upperAscii": _upper,
}
