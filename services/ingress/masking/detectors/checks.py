"""Is this candidate real? Checks that several detectors share; all are pure functions of the value's bytes."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter

from services.ingress.masking.linear import compile_linear

# The shortest random base64 value of 20 characters has about 3.6 bits per character; words have less.
ENTROPY_FLOOR = 3.2

# What this package puts in a value's place: masking masked text again must change nothing.
_PLACEHOLDER = compile_linear(
    r"\[[A-Z][A-Z0-9_]{1,39}\]|[A-Z][A-Z0-9_]{1,39}(?:_[a-z2-7]{16}|#[0-9a-f]{16})|\*{4}.{0,4}"
)


def entropy(value: bytes) -> float:
    """Shannon entropy of the value's own characters, in bits per character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())


def is_placeholder(value: bytes) -> bool:
    """Whether the value is one that masking has put there."""
    return _PLACEHOLDER.fullmatch(value) is not None


def is_random(value: bytes) -> bool:
    """Mixed case with digits and high entropy: what a generator makes and a digest in hex is not."""
    return (
        any(65 <= byte <= 90 for byte in value)
        and any(97 <= byte <= 122 for byte in value)
        and any(48 <= byte <= 57 for byte in value)
        and entropy(value) > 4.0
    )


def credentials(value: bytes) -> bool:
    """Whether this is base64 of `user:password` (RFC 7617, section 2), however short."""
    try:
        said = base64.b64decode(
            value + b"=" * (-len(value) % 4), b"-_" if b"-" in value or b"_" in value else b"+/", True
        )
        return b":" in said and said.decode().isprintable()
    except ValueError:
        return False


def jwt(value: bytes) -> int:
    """Whether the first part decodes to a JSON object that names an algorithm (RFC 7515 section 4.1.1).

    A full stop at the end belongs to the sentence.
    """
    head = value.split(b".", 1)[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return 0
    named = isinstance(header, dict) and ("alg" in header or "typ" in header)
    return len(value.rstrip(b".")) if named else 0
