"""Mask what COPY … TO STDOUT sends: text, CSV and binary; a row may be spread over many CopyData messages.

The formats are PostgreSQL's ("COPY", File Formats). COPY tells no types, so that a column masked whole becomes NULL;
of what is found in other columns, a value that is nothing but a number becomes NULL, too.

    text     fields between delimiters, `\\b \\f \\n \\r \\t \\v \\\\` and octal and hex escapes, `\\N` for NULL
    csv      fields quoted where needed, a quote in them escaped; NULL is an unquoted word
    binary   11 bytes of signature, flags, an extension; rows as in DataRow; -1 at the end
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.copy_text import CsvLines, TextLines
from services.ingress.masking.rows.fields import CopyFormat, Field
from services.ingress.masking.rows.limits import ROW_LIMIT
from services.ingress.masking.rows.values import COLUMN, Values
from services.ingress.masking.scanner import Scanner

_NUMBER = re.compile(rb"\s*[-+]?[\d., :]+(?:[eE][-+]?\d+)?\s*")
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_LENGTH = struct.Struct("!i")
_COUNT = struct.Struct("!h")
#: Encodings in which half a character may look like a backslash or a delimiter.
_UNSAFE = frozenset({"SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"})


class CopyMasker:
    """Masks one stream. Made by `Inspector.copy_out`, which answers None when nothing is to be masked."""

    def __init__(self, form: CopyFormat, hidden: frozenset[int], scanner: Scanner | None, replacer: Replacer) -> None:
        """Raises MaskingError for an encoding in which fields cannot be told apart."""
        if form.encoding.upper() in _UNSAFE:
            raise MaskingError(f"COPY in the encoding {form.encoding.upper()} cannot be masked")
        self._values = Values(scanner, replacer)
        self._hidden = hidden
        self._looking = scanner is not None
        self._buffer = b""
        self._form = form
        self._lines = None if form.name == "binary" else (CsvLines(form) if form.name == "csv" else TextLines(form))
        self._begun = form.name != "binary"
        self._header = form.header
        self._ended = False
        #: Rows passed so far.
        self.rows = 0

    @property
    def counts(self) -> Counter[str]:
        """Values masked so far, by entity."""
        return self._values.counts

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, for those given out since the last call."""
        return self._values.take_pairs()

    def feed(self, data: bytes) -> bytes:
        """The payload of a CopyData message; what of the stream may pass now, whole rows. Raises MaskingError."""
        self._buffer += data
        passed = b"".join(self._binary() if self._lines is None else self._rows_of_text())
        if len(self._buffer) > ROW_LIMIT:
            raise MaskingError(f"a row of COPY is larger than the {ROW_LIMIT} bytes that can be masked")
        return passed

    def close(self) -> bytes:
        """The rest, at CopyDone. Raises MaskingError when the stream ends within a row."""
        if self._buffer or (self._lines is None and not self._ended):
            raise MaskingError("COPY ended within a row")
        return b""

    # --- text and CSV ---

    def _rows_of_text(self) -> Iterator[bytes]:
        assert self._lines is not None
        start = 0
        while (end := self._lines.end(self._buffer, start)) >= 0:
            yield self._line(self._buffer[start:end])
            start = end
        self._buffer = self._buffer[start:]

    def _line(self, line: bytes) -> bytes:
        assert self._lines is not None
        if self._header:
            self._header = False
            return line
        self.rows += 1
        if not self._hidden and not self._values.places(line) and self._lines.is_plain(line):
            return line
        fields = self._lines.split(line)
        masked = [self._masked(at, value) for at, value in enumerate(fields)]
        return self._lines.join(masked, line) if masked != fields else line

    def _masked(self, at: int, value: bytes | None) -> bytes | None:
        if value is None:
            return None
        if at in self._hidden:
            self.counts[COLUMN] += 1
            return None
        if not self._looking:
            return value
        masked = self._values.text(value)
        return None if masked is not value and _NUMBER.fullmatch(value) else masked

    # --- binary ---

    def _binary(self) -> Iterator[bytes]:
        start = 0
        while (end := self._binary_end(start)) > start:
            part = self._buffer[start:end]
            if not self._begun:
                self._begun = True
                yield part
            elif part == b"\xff\xff":
                self._ended = True
                yield part
            else:
                yield self._tuple(part)
            start = end
        self._buffer = self._buffer[start:]

    def _binary_end(self, start: int) -> int:
        """Where the header or tuple that starts here ends; `start` while that is not known."""
        data = self._buffer
        if self._ended and len(data) > start:
            raise MaskingError("COPY went on after its end")
        try:
            if not self._begun:
                if len(data) >= len(_SIGNATURE) and not data.startswith(_SIGNATURE):
                    raise MaskingError("this is no binary COPY")
                at = start + len(_SIGNATURE) + 4
                at += 4 + _LENGTH.unpack_from(data, at)[0]
            else:
                at = start + 2
                for _ in range(max(0, _COUNT.unpack_from(data, start)[0])):
                    at += 4 + max(0, _LENGTH.unpack_from(data, at)[0])
        except struct.error:
            return start
        return at if at <= len(data) else start

    def _tuple(self, part: bytes) -> bytes:
        self.rows += 1
        at, parts = 2, [part[:2]]
        for column in range(_COUNT.unpack_from(part)[0]):
            (length,) = _LENGTH.unpack_from(part, at)
            value = part[at + 4 : at + 4 + length] if length >= 0 else None
            at += 4 + max(0, length)
            masked = self._binary_value(column, value)
            parts.append(b"\xff\xff\xff\xff" if masked is None else _LENGTH.pack(len(masked)) + masked)
        return b"".join(parts)

    def _binary_value(self, column: int, value: bytes | None) -> bytes | None:
        if value is None or not self._looking or column in self._hidden:
            return self._masked(column, value)
        if _is_text(value):
            return self._values.text(value)
        return self._values.look(value, Field(binary=True))


def _is_text(value: bytes) -> bool:
    """Whether it reads as text: the binary form of a text is the text."""
    try:
        return not any(character < " " and character not in "\t\r\n" for character in value.decode())
    except UnicodeDecodeError:
        return False
