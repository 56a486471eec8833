"""Forms, query strings and paths as text: percent-encoding undone (WHATWG URL, section 5; RFC 3986, section 2.1).

    email=bob%40example.com&note=call+me     reads as     email=bob@example.com&note=call me

An `&` ends a field; an encoded one does not, and in a field whose name tells a secret it may not end the secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote_to_bytes

from services.ingress.masking.structure.limits import OPENING_LIMIT, TOLD_KEYS_LIMIT
from services.ingress.masking.structure.view import Mark, Piece, Unit, Zone, among

_TOKEN = re.compile(rb"%[0-9A-Fa-f]{2}|[&+]")
_CUT = re.compile(rb"%[0-9A-Fa-f]?\Z")
_ALNUM = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class FormLexer:
    """Reads `name=value&name=value`; with `plus` off, a path."""

    in_bare = False

    def __init__(self, tells: Callable[[bytes], bool], *, plus: bool = True) -> None:
        self._tells = tells
        self._told: dict[bytes, bool] = {}
        self._plus = plus
        self._field = b""  # the text of the field so far, while it may still be its name

    def take(self, raw: bytes, *, final: bool) -> Piece:
        if not final and (cut := _CUT.search(raw[-2:])):
            raw = raw[: len(raw) - len(cut[0])]
        reading = _Reading(self._field, self._is_told, plus=self._plus)
        for token in _TOKEN.finditer(raw):
            reading.copy(raw[reading.at : token.start()])
            reading.token(token[0])
        reading.copy(raw[reading.at :])
        self._field = reading.field
        return Piece(b"".join(reading.parts), len(raw), among(reading.marks), reading.units)

    def value(self, raw: bytes, zone: Zone) -> str:
        data = raw.replace(b"+", b" ") if self._plus else raw
        return unquote_to_bytes(data).decode("utf-8", "surrogateescape")

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        encode = quote_plus if self._plus else quote
        return encode(text, safe="", errors="surrogatepass").encode("ascii")

    def _is_told(self, name: bytes) -> bool:
        if name not in self._told:
            if len(self._told) >= TOLD_KEYS_LIMIT:
                self._told.clear()
            self._told[name] = self._tells(name + b"=")
        return self._told[name]


class _Reading:
    """A run over the bytes of one part."""

    def __init__(self, field: bytes, is_told: Callable[[bytes], bool], *, plus: bool) -> None:
        self.at = 0
        self.parts: list[bytes] = []
        self.units: list[Unit] = []
        self.marks = [Mark(-1, Zone.TEXT)]
        self.field = field
        self._size = 0
        self._is_told = is_told
        self._plus = plus

    def copy(self, text: bytes) -> None:
        self._put(text, len(text))

    def token(self, token: bytes) -> None:
        if token == b"&":
            self.marks.append(Mark(self._size, Zone.TEXT))
            self._put(token, 1)
            self.field = b""
        elif token == b"+":
            self._put(self._shown(b" ") if self._plus else token, 1)
        else:
            text = self._shown(bytes([int(token[1:], 16)]))
            self.units.append(Unit(self._size, self._size + 1, self.at, self.at + 3))
            self._put(text, 3)

    def _shown(self, text: bytes) -> bytes:
        """An encoded character; in a secret it is one that no detector takes for its end."""
        name, equals, _ = self.field.partition(b"=")
        told = equals and text[0] not in _ALNUM and text[0] < 128 and self._is_told(name)
        return b"_" if told else text

    def _put(self, text: bytes, taken: int) -> None:
        self.parts.append(text)
        self._size += len(text)
        self.at += taken
        if b"=" not in self.field:
            self.field = (self.field + text)[:OPENING_LIMIT]
