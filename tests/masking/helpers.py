"""What the masking tests share: the scanner of everything, and ways to cut a text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from services.ingress.masking import BytesStreamMasker, Replacer, Scanner, StreamMasker, mask_text, scanner_for

KEY = b"k" * 32
EVERYTHING = frozenset({"secrets", "pii", "financial"})


def everything() -> Scanner:
    return scanner_for(EVERYTHING)


def whole(text: str, scanner: Scanner, style: str = "label") -> tuple[str, dict[str, int]]:
    return mask_text(text, scanner, Replacer(style, KEY))


def streamed(parts: Iterable[str], scanner: Scanner, style: str = "label") -> tuple[str, dict[str, int]]:
    masker = StreamMasker(scanner, Replacer(style, KEY))
    return "".join([*map(masker.feed, parts), masker.close()]), masker.counts


def streamed_bytes(parts: Iterable[bytes], scanner: Scanner) -> bytes:
    masker = BytesStreamMasker(scanner, Replacer())
    return b"".join([*map(masker.feed, parts), masker.close()])


def in_two(text: str) -> Iterator[tuple[str, str]]:
    for at in range(len(text) + 1):
        yield text[:at], text[at:]


def in_three(text: str, first: int, last: int, step: int = 1) -> Iterator[tuple[str, str, str]]:
    """Every pair of cuts between `first` and `last`."""
    cuts = range(max(0, first), min(last, len(text)) + 1, step)
    return ((text[:a], text[a:b], text[b:]) for a in cuts for b in cuts if a < b)


def at_random(text: str, seed: int) -> Sequence[str]:
    rng = random.Random(seed)
    parts: list[str] = []
    while text:
        width = rng.choice((1, 1, 2, 3, 5, 8, 40))
        parts.append(text[:width])
        text = text[width:]
    return parts
