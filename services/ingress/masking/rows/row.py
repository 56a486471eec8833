"""Mask DataRow by DataRow; what needs nothing comes back as it was, so that the session can pass the bytes.

DataRow      Int16 columns, for each: Int32 length (-1 for NULL), bytes      ("Message Formats")
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.rows.types import Family, family
from services.ingress.masking.rows.values import Values
from services.ingress.masking.scanner import Scanner

_COUNT = struct.Struct("!H")
_LENGTH = struct.Struct("!i")
_NULL = b"\xff\xff\xff\xff"


class RowMasker:
    """Masks the rows of one result. Made by `Inspector.rows`, which answers None when no row can need it."""

    def __init__(
        self, fields: Sequence[Field], hidden: frozenset[int], scanner: Scanner | None, replacer: Replacer
    ) -> None:
        """`hidden` are the indexes of columns masked whole; `scanner` looks for values in all others, or None."""
        self._fields = tuple(fields)
        self._hidden = hidden
        self._scanned = tuple(at for at in range(len(fields)) if at not in hidden) if scanner else ()
        #: Those whose bytes are not the text they stand for, so that each is looked at by itself.
        self._coded = tuple(at for at in self._scanned if _is_coded(self._fields[at]))
        self._plain = tuple(at for at in self._scanned if at not in self._coded)
        self._values = Values(scanner, replacer)
        #: Those whose name may tell what they hold, so that each value is looked at beside it.
        self._telling = tuple(at for at in self._scanned if self._values.tells(fields[at].name))
        self._always = tuple(sorted({*self._coded, *self._telling}))

    @property
    def counts(self) -> Counter[str]:
        """Values masked so far, by entity."""
        return self._values.counts

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, for those given out since the last call: store them before the rows go out."""
        return self._values.take_pairs()

    def row(self, payload: bytes) -> bytes:
        """A DataRow's payload (what follows type and length), masked; the same object when nothing was found.

        Raises MaskingError: then nothing of the row may be forwarded.
        """
        values = _split(payload)
        if len(values) != len(self._fields):
            raise MaskingError("a row has other columns than were described")
        masked = self.masked(values)
        return payload if masked is values else _join(masked)

    def masked(self, values: list[bytes | None]) -> list[bytes | None]:
        """The same for values already taken apart."""
        fields, mask, changed = self._fields, self._values, values
        for at in self._hidden:
            value = values[at]
            if value is not None:
                changed = list(values) if changed is values else changed
                changed[at] = mask.hide(value, fields[at])
        for at in self._to_look_at(values):
            value = values[at]
            if value is not None:
                looked = mask.look(value, fields[at])
                if looked is not value:
                    changed = list(values) if changed is values else changed
                    changed[at] = looked
        return changed

    def _to_look_at(self, values: list[bytes | None]) -> Iterable[int]:
        """The columns that need a closer look: one pass over all plain ones at once tells which may."""
        columns = [at for at in self._plain if values[at]]
        if not columns:
            return self._always
        texts = [value for at in columns if (value := values[at])]
        together = b"\n".join(texts)
        places = self._values.places(together)
        escaped = b"\\" in together or b"&" in together  # an escape may hide a value
        if not places and not escaped:
            return self._always
        touched = set(self._always)
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        for start, end in places:
            touched.update(columns[bisect_right(starts, start) - 1 : bisect_right(starts, end)])
        if escaped:
            touched.update(at for at, text in zip(columns, texts, strict=True) if b"\\" in text or b"&" in text)
        return sorted(touched)


def _is_coded(field: Field) -> bool:
    kind = family(field.type)
    if kind is Family.BYTEA:
        return True
    return field.binary and (kind is Family.OTHER or not field.type)


def _split(payload: bytes) -> list[bytes | None]:
    """Raises MaskingError for what is no row."""
    values: list[bytes | None] = []
    unpack, at, end = _LENGTH.unpack_from, 2, len(payload)
    try:
        (count,) = _COUNT.unpack_from(payload)
        for _ in range(count):
            (length,) = unpack(payload, at)
            at += 4
            if length < 0:
                values.append(None)
                continue
            values.append(payload[at : at + length])
            at += length
    except struct.error:
        raise MaskingError("a row cannot be read") from None
    if at != end:
        raise MaskingError("a row cannot be read")
    return values


def _join(values: Sequence[bytes | None]) -> bytes:
    parts = [_COUNT.pack(len(values))]
    for value in values:
        parts += (_NULL,) if value is None else (_LENGTH.pack(len(value)), value)
    return b"".join(parts)
