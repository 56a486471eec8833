"""Bytes into whole messages, whatever way the network cut them.

    +------+----------------+---------------------+
    | kind | length (Int32) | payload             |      length counts itself, not the kind
    +------+----------------+---------------------+

`feed` takes bytes, `frames` gives what is whole; "need more" is an iterator that ends. Rows and COPY data come as
`Run`s, many messages in one slice, so that what needs no change costs one copy however many rows there are; one that
is larger than `limits.PIECE` comes in `Piece`s and is never held.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct

from services.ingress.protocols.postgres.codec import limits
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation, too_large

_HEADER = Struct("!Bi")
_LENGTH = Struct("!i")
#: Kind and length.
HEADER = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message; `raw` holds its header, too."""

    kind: int
    raw: bytes

    @property
    def payload(self) -> bytes:
        """What follows the header."""
        return self.raw[HEADER:]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive whole messages of one bulk kind."""

    kind: int
    raw: bytes
    count: int

    def payloads(self) -> Iterator[memoryview]:
        """Each message's payload, not copied."""
        view, at, end = memoryview(self.raw), 0, len(self.raw)
        while at < end:
            stop = at + 1 + _LENGTH.unpack_from(view, at + 1)[0]
            yield view[at + HEADER : stop]
            at = stop


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one large message of a bulk kind; the `first` begins with its header, the `last` ends it."""

    kind: int
    data: bytes
    first: bool
    last: bool
    #: The whole message's length, with its header.
    size: int


Item = Frame | Run | Piece


@dataclass
class Decoder:
    """One direction of a connection."""

    #: The kinds that may come, and the largest length field of each.
    largest: Mapping[int, int]
    #: Kinds that come in runs and pieces.
    bulk: frozenset[int] = frozenset()
    _data: bytes = b""
    _at: int = 0
    #: Fed since `_data` was put together; joined only when that makes a whole message.
    _chunks: deque[bytes] = field(default_factory=deque)
    _waiting: int = 0
    #: A message that is passed in pieces: its kind, its size, and how much is still to come.
    _kind: int = 0
    _size: int = 0
    _rest: int = 0

    def feed(self, data: bytes) -> None:
        """Bytes as they arrived."""
        self._chunks.append(data)
        self._waiting += len(data)

    @property
    def pending(self) -> int:
        """Bytes fed and not given out yet."""
        return len(self._data) - self._at + self._waiting

    def take_rest(self) -> bytes:
        """All that was fed and not given out: for who goes on with another decoder."""
        rest = b"".join((memoryview(self._data)[self._at :], *self._chunks))
        self._data, self._at, self._waiting = b"", 0, 0
        self._chunks.clear()
        return rest

    def frames(self) -> Iterator[Item]:
        """All that is whole. May be left off and asked again. Raises ProtocolViolation."""
        while (item := self.next()) is not None:
            yield item

    def next(self) -> Item | None:
        """The next item, or None until more is fed. Raises ProtocolViolation."""
        if self._rest:
            return self._piece(first=False)
        if not self._gather(HEADER):
            return None
        kind, length = _HEADER.unpack_from(self._data, self._at)
        self._check(kind, length)
        if kind not in self.bulk:
            return Frame(kind, self._take(1 + length)) if self._gather(1 + length) else None
        if length >= limits.PIECE:
            self._kind, self._size, self._rest = kind, 1 + length, 1 + length
            return self._piece(first=True)
        return self._run(kind) if self._gather(1 + length) else None

    def _check(self, kind: int, length: int) -> None:
        largest = self.largest.get(kind)
        if largest is None:
            raise ProtocolViolation(f"a message of kind {kind} is not expected here")
        if length < _LENGTH.size:
            raise ProtocolViolation("a message is shorter than its own length field")
        if length > largest:
            raise too_large("a message", largest)

    def _gather(self, size: int) -> bool:
        """Whether so many bytes are there, in one piece."""
        if len(self._data) - self._at >= size:
            return True
        if self.pending < size:
            return False
        self._data = b"".join((memoryview(self._data)[self._at :], *self._chunks))
        self._at = self._waiting = 0
        self._chunks.clear()
        return True

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def _run(self, kind: int) -> Run:
        """Whole messages of this kind from here, about RUN bytes at most; the first is known to be whole."""
        data, start, end, count = self._data, self._at, len(self._data), 0
        at, header, enough = start, _HEADER.unpack_from, min(len(self._data) - HEADER + 1, start + limits.RUN)
        while at < enough:
            found, length = header(data, at)
            after = at + 1 + length
            if found != kind or after > end or not _LENGTH.size <= length < limits.PIECE:
                break  # the next call sees to it
            at = after
            count += 1
        return Run(kind, self._take(at - start), count)

    def _piece(self, *, first: bool) -> Piece | None:
        if self._at == len(self._data):
            if not self._chunks:
                return None
            self._data, self._at = self._chunks.popleft(), 0
            self._waiting -= len(self._data)
        data = self._take(min(self._rest, len(self._data) - self._at))
        self._rest -= len(data)
        return Piece(self._kind, data, first, self._rest == 0, self._size)
