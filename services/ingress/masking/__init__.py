"""Masking: find sensitive values in text and put something harmless in their place, whole or streamed.

How it is built, from the outside in:

    text         mask_text, StreamMasker, BytesStreamMasker: what everybody else calls
    scanner      Scanner: text -> matches, compiled once per set of entities
      engine       one hyperscan pass finds where each detector must look
      detectors/   what a value looks like there, and a check whether it is real
      custom       the operator's own patterns and deny words
      openings     what at the end of a buffer may still become a value (RE2)
      prefixes       derived from the detectors' own patterns
    replace      Replacer: match -> label, partial, hash or token; restore turns tokens back
    entities     the catalogue of names and the sets `secrets`, `pii`, `financial`
    limits, errors

Everything here is pure: no clock, no I/O, nothing asynchronous. Time is linear in the text, whatever it holds.
It fails closed: a detector that raises is a MaskingError, and the caller forwards nothing.
"""

from services.ingress.masking.entities import ENTITIES, SETS, CustomPattern, resolve
from services.ingress.masking.errors import MaskingConfigError, MaskingError
from services.ingress.masking.replace import Replacer, Style, restore, tokens
from services.ingress.masking.scanner import Match, Scanner, scanner_for
from services.ingress.masking.text import BytesStreamMasker, StreamMasker, mask_bytes, mask_text

__all__ = [
    "ENTITIES",
    "SETS",
    "BytesStreamMasker",
    "CustomPattern",
    "MaskingConfigError",
    "MaskingError",
    "Match",
    "Replacer",
    "Scanner",
    "StreamMasker",
    "Style",
    "mask_bytes",
    "mask_text",
    "resolve",
    "restore",
    "scanner_for",
    "tokens",
]
