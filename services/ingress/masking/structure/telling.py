"""Which keys tell that their value is a secret: asked of the scanner, so that there is one catalogue of such words."""

from __future__ import annotations

from collections.abc import Callable

from services.ingress.masking.scanner import Scanner

#: Reads as a password to every detector that goes by the words before it.
_PROBE = b"Zq7probe9xK"


def teller(scanner: Scanner, end: bytes = b"") -> Callable[[bytes], bool]:
    """Whether what follows a given context is a secret; `end` closes a value, as a quote does."""

    def tells(context: bytes) -> bool:
        return any(span.start == len(context) for span in scanner.spans(context + _PROBE + end, 0))

    return tells
