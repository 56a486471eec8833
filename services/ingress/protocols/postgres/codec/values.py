"""Integers, strings and byte strings within one message."""

import struct
from collections.abc import Iterable

from services.ingress.protocols.postgres.codec.violation import ProtocolViolation

Bytes = bytes | memoryview

_SHORT = struct.Struct("!H")
_LONG = struct.Struct("!i")
_WORD = struct.Struct("!I")

#: How NULL's length is written.
NULL = b"\xff\xff\xff\xff"


class Reader:
    """Reads one message's payload from its beginning; each method raises ProtocolViolation when it does not fit."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: Bytes) -> None:
        self._data = bytes(data)
        self._at = 0

    def take(self, length: int) -> bytes:
        """So many bytes."""
        stop = self._at + length
        if length < 0 or stop > len(self._data):
            raise ProtocolViolation("a message ends too early")
        taken = self._data[self._at : stop]
        self._at = stop
        return taken

    def byte(self) -> int:
        """Byte1 or Int8."""
        return self.take(1)[0]

    def short(self) -> int:
        """Int16 that counts something: unsigned, since PostgreSQL lets it count up to 65,535."""
        return int(_SHORT.unpack(self.take(2))[0])

    def long(self) -> int:
        """Int32."""
        return int(_LONG.unpack(self.take(4))[0])

    def word(self) -> int:
        """Int32 that is an OID or process id: unsigned."""
        return int(_WORD.unpack(self.take(4))[0])

    def text(self) -> bytes:
        """String, without its terminating zero."""
        stop = self._data.find(b"\0", self._at)
        if stop < 0:
            raise ProtocolViolation("a string in a message has no end")
        taken = self._data[self._at : stop]
        self._at = stop + 1
        return taken

    def value(self) -> bytes | None:
        """A length and so many bytes; None for SQL's NULL."""
        length = self.long()
        return None if length == -1 else self.take(length)

    def shorts(self) -> tuple[int, ...]:
        """A count and so many Int16."""
        return tuple(self.short() for _ in range(self.short()))

    def words(self) -> tuple[int, ...]:
        """A count and so many OIDs."""
        return tuple(self.word() for _ in range(self.short()))

    def values(self) -> tuple[bytes | None, ...]:
        """A count and so many values."""
        return tuple(self.value() for _ in range(self.short()))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    @property
    def at_end(self) -> bool:
        """Whether all was read."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Raises ProtocolViolation when something is left."""
        if not self.at_end:
            raise ProtocolViolation("a message goes on after its end")


def message(kind: int, *parts: bytes) -> bytes:
    """A whole message: kind, length and payload."""
    payload = b"".join(parts)
    return bytes((kind,)) + _LONG.pack(len(payload) + 4) + payload


def short(number: int) -> bytes:
    """Int16."""
    return _SHORT.pack(number)


def long(number: int) -> bytes:
    """Int32, signed."""
    return _LONG.pack(number)


def word(number: int) -> bytes:
    """Int32, unsigned."""
    return _WORD.pack(number)


def text(value: bytes) -> bytes:
    """String with its terminating zero. Raises ValueError for one that holds a zero."""
    if b"\0" in value:
        raise ValueError("a string of the protocol cannot hold a zero byte")
    return value + b"\0"


def value(data: bytes | None) -> bytes:
    """A length and the bytes, or NULL."""
    return NULL if data is None else _LONG.pack(len(data)) + data


def shorts(numbers: Iterable[int]) -> bytes:
    """A count and the Int16s."""
    listed = tuple(numbers)
    return short(len(listed)) + b"".join(map(short, listed))


def words(numbers: Iterable[int]) -> bytes:
    """A count and the OIDs."""
    listed = tuple(numbers)
    return short(len(listed)) + b"".join(map(word, listed))


def values(items: Iterable[bytes | None]) -> bytes:
    """A count and the values."""
    listed = tuple(items)
    return short(len(listed)) + b"".join(map(value, listed))
