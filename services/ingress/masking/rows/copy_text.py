"""The lines of COPY's text and CSV formats taken apart and put together (PostgreSQL documentation, "COPY")."""

from __future__ import annotations

import re

from services.ingress.masking.rows.fields import CopyFormat

_ESCAPED = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|([\s\S]))")
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_SPELT = {value[0]: b"\\" + letter for letter, value in _LETTERS.items()} | {0x5C: b"\\\\"}


class TextLines:
    """`text`: a delimiter or line end in a value is escaped, so that lines and fields are split where they stand."""

    def __init__(self, form: CopyFormat) -> None:
        self._delimiter = form.delimiter.encode()
        self._null = form.null.encode()
        self._field = re.compile(rb"(?:\\[\s\S]|[^\\" + _in_class(self._delimiter) + rb"]++)*+")

    def end(self, data: bytes, start: int) -> int:
        """Where the line that starts here ends, its end included; -1 while it has none."""
        return data.find(b"\n", start) + 1 or -1

    def is_plain(self, line: bytes) -> bool:
        """Whether its bytes are what it says."""
        return b"\\" not in line and b"&" not in line

    def split(self, line: bytes) -> list[bytes | None]:
        """The values of a line."""
        line = line.rstrip(b"\r\n")
        values: list[bytes | None] = []
        at = 0
        while True:
            match = self._field.match(line, at)
            assert match  # it matches nothing, too
            values.append(None if match[0] == self._null else _ESCAPED.sub(_unescaped, match[0]))
            at = match.end() + len(self._delimiter)
            if match.end() >= len(line):
                return values

    def join(self, values: list[bytes | None], line: bytes) -> bytes:
        """The line with these values, ending as it did."""
        parts = [self._null if value is None else self._escaped(value) for value in values]
        return self._delimiter.join(parts) + line[len(line.rstrip(b"\r\n")) :]

    def _escaped(self, value: bytes) -> bytes:
        return b"".join(
            _SPELT.get(byte) or (b"\\" if self._delimiter == bytes((byte,)) else b"") + bytes((byte,)) for byte in value
        )


class CsvLines:
    """`csv`: quotes hold delimiters and line ends together; an empty unquoted field, or another word, is NULL."""

    def __init__(self, form: CopyFormat) -> None:
        self._delimiter = form.delimiter.encode()
        self._null = form.null.encode()
        self._quote = form.quote.encode()
        self._escape = form.escape.encode()
        quote, escape = re.escape(self._quote), re.escape(self._escape)
        doubled = quote * 2 if quote == escape else escape + rb"[\s\S]"
        inside = rb"[^" + _in_class(self._quote) + (b"" if quote == escape else _in_class(self._escape)) + rb"]"
        self._quoted = re.compile(quote + rb"((?:" + doubled + rb"|" + inside + rb"++)*+)" + quote)
        self._bare = re.compile(rb"[^" + _in_class(self._delimiter) + rb"\r\n]*+")
        self._special = re.compile(rb"[" + _in_class(self._delimiter + self._quote) + rb"\r\n]|^\s|\s$|^\\\.$")
        self._unescape = re.compile(escape + rb"(" + quote + rb"|" + escape + rb")")

    def end(self, data: bytes, start: int) -> int:
        """Where the line that starts here ends, its end included; -1 while it has none."""
        at = start
        while True:
            line_end = data.find(b"\n", at)
            quote = data.find(self._quote, at)
            if line_end < 0:
                return -1
            if quote < 0 or line_end < quote:
                return line_end + 1
            match = self._quoted.match(data, quote)
            if match is None:
                return -1
            at = match.end()

    def is_plain(self, line: bytes) -> bool:
        """Whether its bytes are what it says."""
        return self._quote not in line and b"\\" not in line and b"&" not in line

    def split(self, line: bytes) -> list[bytes | None]:
        """The values of a line."""
        line = line.rstrip(b"\r\n")
        values: list[bytes | None] = []
        at = 0
        while True:
            match = self._quoted.match(line, at)
            if match:
                values.append(self._unescape.sub(rb"\1", match[1]))
            else:
                match = self._bare.match(line, at)
                assert match  # it matches nothing, too
                values.append(None if match[0] == self._null else match[0])
            at = match.end() + len(self._delimiter)
            if match.end() >= len(line):
                return values

    def join(self, values: list[bytes | None], line: bytes) -> bytes:
        """The line with these values, ending as it did."""
        parts = [self._null if value is None else self._written(value) for value in values]
        return self._delimiter.join(parts) + line[len(line.rstrip(b"\r\n")) :]

    def _written(self, value: bytes) -> bytes:
        if value != self._null and not self._special.search(value):
            return value
        for character in dict.fromkeys((self._escape, self._quote)):
            value = value.replace(character, self._escape + character)
        return self._quote + value + self._quote


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if octal:
        return bytes((int(octal, 8) & 0xFF,))
    if hexadecimal:
        return bytes((int(hexadecimal, 16),))
    return _LETTERS.get(letter, letter)


def _in_class(characters: bytes) -> bytes:
    """As members of a character class."""
    return b"".join(b"\\" + bytes((byte,)) if not bytes((byte,)).isalnum() else bytes((byte,)) for byte in characters)
