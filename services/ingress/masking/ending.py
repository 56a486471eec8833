"""RE2 expressions that must match up to the end of what they are given: what openings and own patterns ask."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from services.ingress.masking.errors import MaskingConfigError

# RE2 builds its automaton lazily in this much memory, and starts again when it is full.
_AUTOMATON_BYTES = 16 << 20


@lru_cache(maxsize=4096)
def compile_ending(pattern: str, *, latin: bool = True) -> Any:
    """`pattern`, anchored at the end: over bytes when `latin`, else over UTF-8. Raises MaskingConfigError."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1 if latin else re2.Options.Encoding.UTF8
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    try:
        return re2.compile((rf"(?s:{pattern})\z" if latin else rf"(?:{pattern})\z").encode(), options)
    except re2.error as error:
        raise MaskingConfigError(f"a pattern cannot be compiled: {error}") from None
