"""RE2 as this package uses it: over bytes, and often up to the end of what it is given.

Openings and own patterns ask for endings; checks judge values with `compile_linear`, for a value is input too, and
an innocent-looking `(?:[A-Z][a-z]+|\\d{1,2})*` takes Python's `re` an exponential time to refuse.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from services.ingress.masking.errors import MaskingConfigError

# RE2 builds its automaton lazily in this much memory, and starts again when it is full.
_AUTOMATON_BYTES = 16 << 20


def compile_linear(pattern: str) -> Any:
    """`pattern` over bytes, in which `.` is any byte."""
    return _compile(f"(?s:{pattern})", re2.Options.Encoding.LATIN1)


@lru_cache(maxsize=4096)
def compile_ending(pattern: str, *, latin: bool = True) -> Any:
    """`pattern`, anchored at the end: over bytes when `latin`, else over UTF-8. Raises MaskingConfigError."""
    if latin:
        return _compile(rf"(?s:{pattern})\z", re2.Options.Encoding.LATIN1)
    return _compile(rf"(?:{pattern})\z", re2.Options.Encoding.UTF8)


def _compile(pattern: str, encoding: Any) -> Any:
    options = re2.Options()
    options.encoding = encoding
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise MaskingConfigError(f"a pattern cannot be compiled: {error}") from None
