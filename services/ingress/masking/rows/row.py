"""Mask DataRow by DataRow; what needs nothing comes back as it was, so that the session can pass the bytes."""

from __future__ import annotations

from collections.abc import Sequence

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.scanner import Scanner


class RowMasker:
    """Masks the rows of one result. Made by `Inspector.rows`, which answers None when no row can need it."""

    def __init__(
        self, fields: Sequence[Field], hidden: frozenset[int], scanner: Scanner | None, replacer: Replacer
    ) -> None:
        """`hidden` are the indexes of columns masked whole; `scanner` looks for values in all others, or None."""
        self.counts: dict[str, int] = {}

    def row(self, payload: bytes) -> bytes:
        """A DataRow's payload (what follows type and length), masked; the same object when nothing was found.

        Raises MaskingError: then nothing of the row may be forwarded.
        """
        raise MaskingError("rows cannot be masked yet")

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, for those given out since the last call: store them before the rows go out."""
        return {}
