"""A document as its reader sees it: text with the escapes undone, and the way back from each character to its bytes.

    bytes   { " m a i l " : " b o b \\ u 0 0 4 0 x . c o m " }
    view    { " m a i l " : " b o b @ x . c o m " }

A lexer reads bytes into pieces; `View` joins the pieces, and maps places in the text to places in the document.
Offsets are absolute: they count from the start of the stream, and stay true when the front is dropped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol


class Zone(IntEnum):
    """Where in a document a place is, which says how a value there is replaced."""

    #: Between tokens: JSON's numbers, literals and punctuation.
    BARE = 0
    #: Inside a string, an attribute, a field of a form.
    TEXT = 1
    #: The same two in a JSON document that a JSON string holds.
    NESTED_BARE = 2
    NESTED_TEXT = 3


class Unit(NamedTuple):
    """An escape: `start` to `end` of the text stand for `raw_start` to `raw_end` of the document."""

    start: int
    end: int
    raw_start: int
    raw_end: int


class Mark(NamedTuple):
    """Here a token starts, in this zone."""

    at: int
    zone: Zone


@dataclass(slots=True)
class Piece:
    """What a lexer read from the start of some bytes. Offsets in it count from its own start."""

    text: bytes
    #: How many of the bytes it read; the rest is an escape that goes on in the next ones.
    taken: int
    #: The zone at a place, then the tokens that start after it and up to an end. Worked out only where something has
    #: to be replaced, and so asked for rising places; from -1 means all of it.
    marks: Callable[[int, int], list[Mark]]
    units: list[Unit] = field(default_factory=list)


class Lexer(Protocol):
    """Reads one kind of document."""

    def take(self, raw: bytes, *, final: bool) -> Piece:
        """Read what is complete of `raw`, which starts with what was left of the last; with `final`, read all."""

    @property
    def in_bare(self) -> bool:
        """Whether a number may stand at the end of what was read."""

    def value(self, raw: bytes, zone: Zone) -> str:
        """What the bytes of a value in this zone say."""

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        """Bytes for text in this zone; `quoted` makes it a value of its own."""


class View:
    """The text that is still needed, and the document's bytes that have not been passed on."""

    def __init__(self, lexer: Lexer, context: bytes = b"") -> None:
        """`context` is read as if it stood before the document, of which it is no part."""
        self._lexer = lexer
        self.text = context
        #: The absolute offset of `text[0]`.
        self.base = 0
        self._raw = b""
        self._raw_base = 0  # the offset of `_raw[0]`
        self._let_go = 0  # so many bytes of `_raw` have been passed on
        self._read = 0  # up to here the document has been read into the text
        self._shift = -len(context)  # document offset minus text offset, after the last unit that was dropped
        self._units: list[Unit] = []
        self._pieces: list[tuple[int, Piece]] = []

    @property
    def end(self) -> int:
        return self.base + len(self.text)

    @property
    def unpassed(self) -> int:
        """How many bytes of the document are held."""
        return len(self._raw) - self._let_go

    def read(self, data: bytes, *, final: bool = False) -> None:
        """Append what comes next of the document."""
        self._raw += data
        todo = self._raw[self._read - self._raw_base :]
        piece = self._lexer.take(todo, final=final)
        at, raw_at = self.end, self._read
        self._units += [Unit(at + u.start, at + u.end, raw_at + u.raw_start, raw_at + u.raw_end) for u in piece.units]
        self._pieces.append((at, piece))
        self.text += piece.text
        self._read += piece.taken

    def pass_raw(self, until: int) -> bytes:
        """The document's bytes up to offset `until` (of the document), which are let go."""
        start, self._let_go = self._let_go, until - self._raw_base
        return self._raw[start : self._let_go]

    def raw_start(self, at: int) -> int:
        """Where in the document the character at `at` starts."""
        index = bisect_right(self._units, at, key=lambda unit: unit.start) - 1
        if index < 0:
            return at + self._shift
        unit = self._units[index]
        return unit.raw_start if at < unit.end else unit.raw_end + at - unit.end

    def raw_end(self, at: int) -> int:
        """Where in the document the text before `at` ends."""
        index = bisect_left(self._units, at, key=lambda unit: unit.start) - 1
        if index < 0:
            return at + self._shift
        unit = self._units[index]
        return unit.raw_end + max(0, at - unit.end)

    def tokens(self, start: int, end: int) -> list[tuple[int, int, Zone]]:
        """The parts of start to end by token, with their zones. To be asked for rising starts."""
        marks: list[Mark] = []
        for at, piece in self._pieces:
            if at < end and at + len(piece.text) > start:
                found = piece.marks(max(-1, start - at), min(end - at, len(piece.text)))
                marks += [Mark(at + mark.at, mark.zone) for mark in (found[1:] if marks else found)]
        ends = [mark.at for mark in marks[1:]] + [end]
        return [(mark.at, until, mark.zone) for mark, until in zip(marks, ends, strict=True) if mark.at < until]

    def forget(self, until: int) -> None:
        """Let go of the text before `until`."""
        count = bisect_right(self._units, until, key=lambda unit: unit.end)
        if count:
            self._shift = self._units[count - 1].raw_end - self._units[count - 1].end
            del self._units[:count]
        self._pieces = [(at, piece) for at, piece in self._pieces if at + len(piece.text) > until]
        self.text = self.text[until - self.base :]
        self.base = until
        self._raw = self._raw[self._let_go :]
        self._raw_base += self._let_go
        self._let_go = 0


def among(marks: list[Mark]) -> Callable[[int, int], list[Mark]]:
    """A piece's `marks` for a lexer that knows them all; the first stands at -1."""

    def within(start: int, end: int) -> list[Mark]:
        first = bisect_right(marks, start, key=_place) - 1
        last = bisect_right(marks, end, key=_place)
        return [Mark(start, marks[first].zone), *marks[first + 1 : last]]

    return within


def _place(mark: Mark) -> int:
    return mark.at
