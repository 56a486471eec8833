"""Mask what COPY … TO STDOUT sends: text, CSV and binary; a row may be spread over many CopyData messages."""

from __future__ import annotations

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import CopyFormat
from services.ingress.masking.scanner import Scanner


class CopyMasker:
    """Masks one stream. Made by `Inspector.copy_out`, which answers None when nothing is to be masked."""

    def __init__(self, form: CopyFormat, hidden: frozenset[int], scanner: Scanner | None, replacer: Replacer) -> None:
        self.counts: dict[str, int] = {}
        #: Rows passed so far.
        self.rows = 0

    def feed(self, data: bytes) -> bytes:
        """The payload of a CopyData message; what of the stream may pass now, whole rows. Raises MaskingError."""
        raise MaskingError("COPY cannot be masked yet")

    def close(self) -> bytes:
        """The rest, at CopyDone. Raises MaskingError when the stream ends within a row."""
        return b""

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, for those given out since the last call."""
        return {}
