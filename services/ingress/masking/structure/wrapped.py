"""What surrounds a document on the wire: content codings, charsets, and bytes that are no text.

Each wraps a masker of plain UTF-8 and is a masker itself: `feed`, `close`, `counts`.
"""

from __future__ import annotations

import codecs
import zlib
from typing import Protocol

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.structure.limits import INFLATE_LIMIT

#: Charsets that are read as they stand.
UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
#: RFC 9110, section 8.4.1: what zlib is told to expect.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Masker(Protocol):
    """Masks bytes in parts."""

    @property
    def counts(self) -> dict[str, int]:
        """Replaced so far, by entity."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now. Raises MaskingError."""

    def close(self) -> bytes:
        """The rest. Raises MaskingError."""


class Chain:
    """One masker after another, over the same bytes."""

    def __init__(self, first: Masker, second: Masker) -> None:
        self._first = first
        self._second = second

    @property
    def counts(self) -> dict[str, int]:
        found = dict(self._first.counts)
        for entity, count in self._second.counts.items():
            found[entity] = found.get(entity, 0) + count
        return found

    def feed(self, data: bytes) -> bytes:
        return self._second.feed(self._first.feed(data))

    def close(self) -> bytes:
        return self._second.feed(self._first.close()) + self._second.close()


class Inflating:
    """Takes bytes in a content coding, gives masked bytes without one."""

    def __init__(self, coding: str, masker: Masker) -> None:
        if coding not in _WINDOW_BITS:
            raise MaskingError(f"content in the coding {coding} cannot be read")
        self._bits = _WINDOW_BITS[coding]
        self._unpack = zlib.decompressobj(self._bits)
        self._masker = masker

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts

    def feed(self, data: bytes) -> bytes:
        return self._masker.feed(self._inflated(data))

    def close(self) -> bytes:
        if not self._unpack.eof:
            raise MaskingError("the encoded content is cut off")
        return self._masker.close()

    def _inflated(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        room = INFLATE_LIMIT
        while data:
            if self._unpack.eof:  # gzip: members may follow one another (RFC 1952, section 2.2)
                self._unpack = zlib.decompressobj(self._bits)
            try:
                parts.append(self._unpack.decompress(data, room))
            except zlib.error:
                raise MaskingError("the encoded content is broken") from None
            room -= len(parts[-1])
            if self._unpack.unconsumed_tail or room <= 0:
                raise MaskingError("the encoded content is too large when it is unpacked")
            data = self._unpack.unused_data
        return b"".join(parts)


class Transcoding:
    """Takes and gives bytes in a charset other than UTF-8.

    UTF-16 has to begin with its mark or an ASCII character: readers of JSON take the bytes for UTF-8 if they are that,
    whatever is declared, and as UTF-16 they would be masked as garble.
    """

    def __init__(self, charset: str, masker: Masker) -> None:
        try:
            self._decoder = codecs.getincrementaldecoder(charset)("strict")
            self._encoder = codecs.getincrementalencoder(charset)("strict")
        except LookupError:
            raise MaskingError("the content's charset is not known") from None
        self._start: bytes | None = b"" if codecs.lookup(charset).name.startswith("utf-16") else None
        self._from_utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        self._masker = masker

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts

    def feed(self, data: bytes) -> bytes:
        return self._step(data, final=False)

    def close(self) -> bytes:
        return self._step(b"", final=True)

    def _step(self, data: bytes, *, final: bool) -> bytes:
        if self._start is not None:
            self._start += data[:2]
            if len(self._start) >= 2:
                if self._start[:2] not in _MARKS and 0 not in self._start[:2]:
                    raise MaskingError("the content is not in the charset it names")
                self._start = None
        try:
            masked = self._masker.feed(self._decoder.decode(data, final).encode())
            if final:
                masked += self._masker.close()
            return self._encoder.encode(self._from_utf8.decode(masked, final), final)
        except UnicodeError:
            raise MaskingError("the content is not in the charset it names") from None


class TextOnly:
    """Refuses bytes that are not UTF-8 text; or passes them, when the rule says so, from the first one on."""

    def __init__(self, masker: Masker, *, pass_binary: bool) -> None:
        self._masker = masker
        self._pass_binary = pass_binary
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._binary = False

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts

    def feed(self, data: bytes) -> bytes:
        if self._binary:
            return data
        return self._masker.feed(data) if self._is_text(data, final=False) else self._turn_binary(data)

    def close(self) -> bytes:
        if self._binary:
            return b""
        return self._masker.close() if self._is_text(b"", final=True) else self._turn_binary(b"")

    def _is_text(self, data: bytes, *, final: bool) -> bool:
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError:
            return False
        return b"\0" not in data

    def _turn_binary(self, data: bytes) -> bytes:
        if not self._pass_binary:
            raise MaskingError("the content is not text, so it cannot be masked")
        self._binary = True
        return self._masker.close() + data
