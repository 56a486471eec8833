"""A body as text, if it is text: media type, charset, content codings. Pure.

What cannot be read is `opaque`: it is never taken for empty, so a rule that needs content denies it (G1). Whether
bytes are text is decided by the bytes: a declared type never hides UTF-8 from inspection.
"""

import json
import re
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import orjson
from multidict import CIMultiDict, CIMultiDictProxy

#: Content is never unpacked to more than this many times the inspection window (a compression bomb stays small).
MAX_EXPANSION = 8
#: Most members of one body (RFC 1952, section 2.2). Tools that write in blocks make one for every 16 KiB or more; each
#: costs a copy of what follows it.
MAX_MEMBERS = 256
#: Charsets in which a byte below 128 is the ASCII character: whoever takes the bytes for UTF-8 sees the same values.
ASCII_BASED = frozenset(
    ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "iso-8859-15", "windows-1252", "cp1252")
)
#: All that are read. Python knows more (`punycode`, `utf-7`, …), in which plain text can be made to look like none.
READABLE = ASCII_BASED | {"utf-16", "utf-16le", "utf-16be", "utf-16-le", "utf-16-be"}


#: RFC 6838, section 4.2.
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9*][a-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True)
class MediaType:
    """`application/json; charset=utf-8`, taken apart (RFC 9110, section 8.3.1)."""

    name: str = ""
    charset: str = "utf-8"

    @property
    def is_json(self) -> bool:
        """`application/json` and every `+json`."""
        return self.name == "application/json" or self.name.endswith("+json")

    @property
    def is_parts(self) -> bool:
        """A multipart body, which is read as text."""
        return self.name.startswith("multipart/")

    @property
    def is_event_stream(self) -> bool:
        """Server-sent events."""
        return self.name == "text/event-stream"


@lru_cache(256)
def media_type(value: str) -> MediaType:
    """Parse a Content-Type field; an unknown charset is kept as it stands, and decoding it will fail.

    What is no type has no name: it is recorded, so it must not be a place for anything else.
    """
    name, *parameters = value.split(";")
    charset = "utf-8"
    for parameter in parameters:
        key, _, given = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = given.strip().strip('"').lower() or charset
    name = name.strip().lower()
    return MediaType(name if _TYPE.fullmatch(name) else "", charset)


def coding_of(fields: CIMultiDict[str] | CIMultiDictProxy[str]) -> str:
    """The content coding, lower-case; empty for identity."""
    coding = fields.get("Content-Encoding", "").strip().lower()
    return "" if coding == "identity" else coding


class Decompressor(Protocol):
    """Bytes in, bytes out, up to the end of one member."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def decompressor(coding: str) -> Decompressor | None:
    """For gzip and deflate (RFC 9110, section 8.4.1); None for a coding we do not read."""
    match coding:
        case "gzip" | "x-gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        case "deflate":
            return zlib.decompressobj()
        case _:
            return None


@dataclass(frozen=True)
class Content:
    """A body, or the part of it within the inspection window."""

    raw: bytes
    media: MediaType
    coding: str = ""
    #: False when the body went on beyond `raw`.
    complete: bool = True

    @property
    def weight(self) -> int:
        """Bytes that there may be to look at: a coding can hide many more than came."""
        return len(self.raw) * (MAX_EXPANSION if self.coding else 1)

    @property
    def plain(self) -> bytes | None:
        """Without its coding, or None when it cannot be undone within bounds."""
        return self._unpacked if self.coding and self.raw else self.raw

    @cached_property
    def _unpacked(self) -> bytes | None:
        return _unpacked(self.raw, self.coding, max(len(self.raw), 4096) * MAX_EXPANSION, whole=self.complete)

    @property
    def text(self) -> str | None:
        """As text, or None when it is binary or in a charset that does not fit."""
        return self._read[0]

    @property
    def charset(self) -> str:
        """The charset of `text`; UTF-8 when there is none."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[str | None, str]:
        """UTF-8 if the bytes are that, whatever was declared: a wrong charset must not garble what is to be found."""
        if self.plain is None:
            return None, "utf-8"
        for charset in dict.fromkeys(("utf-8", self.media.charset)):
            if charset in READABLE and (text := _decode(self.plain, charset, whole=self.complete)) is not None:
                return text, charset
        return None, "utf-8"

    @property
    def opaque(self) -> bool:
        """True when there is content that nobody can read."""
        return bool(self.raw) and self.text is None

    @cached_property
    def json(self) -> Any:
        """Parsed, when it is declared or looks like JSON and is whole; else None."""
        text = self.text
        if text is None or not self.complete:
            return None
        text = text.lstrip("\ufeff \t\r\n")
        if not (self.media.is_json or text[:1] in ("{", "[")):
            return None
        try:
            return orjson.loads(text)
        except ValueError:
            return _json_of_python(text)


def _json_of_python(text: str) -> Any:
    """As Python's servers read it: with NaN, lone surrogates and control characters, which orjson refuses."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _unpacked(data: bytes, coding: str, limit: int, *, whole: bool) -> bytes | None:
    """All members one after another, as a reader takes them (RFC 1952, section 2.2); None when any of it cannot be.

    Of a `whole` body nothing may be missing: what one reader takes for broken, another reads as far as it goes.
    """
    parts: list[bytes] = []
    for _ in range(MAX_MEMBERS):
        unpack = decompressor(coding)
        if unpack is None:
            return None
        try:
            parts.append(unpack.decompress(data, limit))
        except zlib.error:
            return None
        limit -= len(parts[-1])
        if limit <= 0:
            return None
        data = unpack.unused_data
        if not data:
            return b"".join(parts) if unpack.eof or not whole else None
    return None


def _decode(data: bytes, charset: str, *, whole: bool) -> str | None:
    """Decoded text without NUL characters; a character cut at the window's end is left out."""
    try:
        text = data.decode(charset)
    except LookupError:
        return None
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 4:
            return None
        text = data[: error.start].decode(charset)
    return None if "\0" in text else text
