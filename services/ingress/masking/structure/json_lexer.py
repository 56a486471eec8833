"""JSON (RFC 8259) as text: the escapes of strings undone, also in a JSON document that a string holds.

A model's tool-call arguments are JSON inside a JSON string, in which `@` may be written `\\\\u0040`: so the view
undoes both levels there. What is not JSON is read all the same, as JSON as far as it goes: nothing escapes the
search for being malformed. Numbers are bare words; a replaced one becomes a string.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from services.ingress.masking.structure.limits import OPENING_LIMIT, TOLD_KEYS_LIMIT
from services.ingress.masking.structure.view import Mark, Piece, Unit, Zone

_NEXT = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[ \t\r\n]*")
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_PAIR = re.compile(_HIGH + _LOW)
# An escape inside the inner document, as the outer one writes it: `\\n`, `\\\"`, `\\\\`, `\\u0040`.
_INNER = re.compile(rb'\\\\(?:\\["\\/]|[/bfnrt]|u[0-9a-fA-F]{4})')
# The start of an escape, of a surrogate pair, of an inner escape: more must be read to know.
_CUT = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CUT_PAIR = re.compile(_HIGH + rb"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")
_CUT_INNER = re.compile(rb"\\\\(?:\\|u[0-9a-fA-F]{0,3})?\Z")
_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")

# A key, its colon and the quote that opens its value, in either document.
_KEY = re.compile(rb'"([^"\\\r\n]{1,128})\\?"(?:\s|\\[nrt]){0,8}:(?:\s|\\[nrt]){0,8}\\?"\Z')
#: Characters that end a quoted value where a detector looks for one, though here they are part of it.
_ENDS_VALUE = b"\"'\\\r\n\t"

#: How many times text is escaped in each zone.
_DEPTH = {Zone.BARE: 0, Zone.TEXT: 1, Zone.NESTED_BARE: 1, Zone.NESTED_TEXT: 2}

_NESTED = (Zone.NESTED_BARE, Zone.NESTED_TEXT)
_SHORT = {b"\\n": b"\n", b'\\"': b'"', b"\\\\": b"\\", b"\\t": b"\t", b"\\/": b"/", b"\\r": b"\r"}

Tells = Callable[[bytes], bool]


class _State(NamedTuple):
    """Between two bytes of the document."""

    zone: Zone = Zone.BARE
    #: A string has just been opened, and whether it holds a document is not known yet.
    fresh: bool = False
    #: The bytes before the string, with its key.
    opening: bytes = b""


class JsonLexer:
    """Reads JSON. `tells` answers whether a line such as `"password": "` makes what follows it a secret."""

    def __init__(self, tells: Tells) -> None:
        self._tells = tells
        self._told: dict[bytes, bool] = {}
        self._state = _State()
        self._before = b""

    @property
    def in_bare(self) -> bool:
        return self._state.zone in (Zone.BARE, Zone.NESTED_BARE)

    def take(self, raw: bytes, *, final: bool) -> Piece:
        if not final and (cut := _CUT_CHARACTER.search(raw[-3:])):
            raw = raw[: len(raw) - len(cut[0])]
        state = self._state
        reading = _Reading(self._before + raw, len(self._before), state, self._is_told, final=final)
        reading.read_all()
        self._state = reading.state
        self._before = reading.raw[max(0, reading.at - OPENING_LIMIT) : reading.at]
        marker = _Reading(raw, 0, state, self._is_told, final=True)
        return Piece(b"".join(reading.parts), reading.taken, marker.marks_in, reading.units)

    def value(self, raw: bytes, zone: Zone) -> str:
        text = raw.decode("utf-8", "surrogateescape")
        for _ in range(_DEPTH[zone]):
            try:
                text = json.loads(f'"{text}"', strict=False)
            except ValueError:
                break
        return text

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        if quoted:
            text = json.dumps(text)
        for _ in range(_DEPTH[zone]):
            text = json.dumps(text)[1:-1]
        return text.encode("utf-8", "surrogatepass")

    def _is_told(self, opening: bytes) -> bool:
        """Whether the key before this quote tells that the string is a secret."""
        key = _KEY.search(opening)
        if key is None:
            return False
        if key[1] not in self._told:
            if len(self._told) >= TOLD_KEYS_LIMIT:
                self._told.clear()
            self._told[key[1]] = self._tells(b'"%s": "' % key[1])
        return self._told[key[1]]


class _Reading:
    """A run over some bytes: from escape to escape, and from quote to quote where the tokens are asked for."""

    def __init__(self, raw: bytes, at: int, state: _State, is_told: Tells, *, final: bool) -> None:
        self.raw = raw
        self.at = at
        self.size = 0  # of the text so far
        self.parts: list[bytes] = []
        self.units: list[Unit] = []
        self._from = at
        self._zone, self._fresh, self._opening = state
        self._opened = -1  # where the string was opened, if that is in these bytes
        self._answer = (-2, False)  # whether the string opened there is told to be a secret
        self._marks = [Mark(-1, state.zone)]
        self._is_told = is_told
        self._final = final

    @property
    def state(self) -> _State:
        return _State(self._zone, self._fresh, self._opening_bytes() if self._zone is not Zone.BARE else b"")

    @property
    def taken(self) -> int:
        return self.at - self._from

    def read_all(self) -> None:
        """Undo the escapes; quotes are only counted."""
        while self.at < len(self.raw):
            stop = self.raw.find(b"\\", self.at)
            self._skim(stop if stop >= 0 else len(self.raw))
            if self.at < len(self.raw) and not self._escape():
                return

    def marks_in(self, start: int, end: int) -> list[Mark]:
        """The zone at `start`, then the tokens that start up to `end`. To be asked for rising starts only."""
        if start > self.size:
            self._skip(start)
            self._marks.append(Mark(self.size, self._zone))
        self._follow(end)
        first = bisect_right(self._marks, start, key=_at) - 1
        last = bisect_right(self._marks, end, key=_at)
        return [Mark(start, self._marks[first].zone), *self._marks[first + 1 : last]]

    def _skip(self, size: int) -> None:
        """Read on until the text has this size."""
        while self.size < size and self.at < len(self.raw):
            target = self.at + size - self.size
            stop = self.raw.find(b"\\", self.at, target)
            self._skim(stop if stop >= 0 else min(target, len(self.raw)))
            if stop >= 0:
                self._escape()

    def _follow(self, size: int) -> None:
        """The same, with every token."""
        while self.size < size and self.at < len(self.raw):
            target = min(self.at + size - self.size, len(self.raw))
            stop = _NEXT.search(self.raw, self.at, target)
            self._skim(stop.start() if stop else target)
            if stop is None:
                return
            if stop[0] == b'"':
                self._quote()
            else:
                self._escape()

    def _skim(self, end: int) -> None:
        """Read on to `end`, with no escape before it."""
        raw, at = self.raw, self.at
        quotes = raw.count(b'"', at, end)
        if quotes:
            if (self._zone is Zone.BARE) is (quotes % 2 == 0):
                self._zone, self._fresh = Zone.BARE, False
            else:
                at = raw.rfind(b'"', at, end) + 1
                self._zone, self._fresh, self._opened = Zone.TEXT, True, at
        if self._fresh:
            self._look_inside(at, end)
        self._put(raw[self.at : end], end)

    def _look_inside(self, at: int, end: int) -> None:
        """Does the string hold a document? Its first character tells."""
        space = _SPACE.match(self.raw, at, end)
        first = space.end() if space else at
        if first < end:
            self._fresh = False
            if self.raw[first] in b"{[":
                self._enter(Zone.NESTED_BARE, self.size + first - self.at)

    def _quote(self) -> None:
        """Opens or closes a string."""
        opens = self._zone is Zone.BARE
        self._fresh = opens
        if not opens:
            self._enter(Zone.BARE, self.size)
        self._put(b'"', self.at + 1)
        if opens:
            self._enter(Zone.TEXT, self.size)
            self._opened = self.at

    def _enter(self, zone: Zone, at: int) -> None:
        self._zone = zone
        self._marks.append(Mark(at, zone))

    def _escape(self) -> bool:
        """Read an escape; False when it goes on in the next bytes."""
        raw, at = self.raw, self.at
        self._fresh = False
        if self._zone is Zone.TEXT and (short := _SHORT.get(raw[at : at + 2])):
            self._unit(self._shown(short), at + 2)
            return True
        inner = self._zone is Zone.NESTED_TEXT
        found = (inner and _INNER.match(raw, at)) or _PAIR.match(raw, at) or _ESCAPE.match(raw, at)
        if not self._final and len(raw) - at < 12 and _is_cut(raw, at, inner=inner):
            return False
        if not found:
            self._put(b"\\", at + 1)
        elif self._zone in _NESTED and raw[at + 1] == 0x22:
            self._inner_quote(found.end())
        else:
            self._unescape(found.end(), 2 if found.re is _INNER else 1)
        return True

    def _inner_quote(self, end: int) -> None:
        """A quote of the inner document: it opens or closes a string there."""
        if self._zone is Zone.NESTED_TEXT:
            self._enter(Zone.NESTED_BARE, self.size)
            self._unit(b'"', end)
        else:
            self._unit(b'"', end)
            self._enter(Zone.NESTED_TEXT, self.size)
            self._opened = end

    def _unescape(self, end: int, depth: int) -> None:
        text = self.raw[self.at : end].decode("ascii")
        for _ in range(depth):
            text = json.loads(f'"{text}"')
        self._unit(self._shown(text.encode("utf-8", "surrogatepass")), end)

    def _shown(self, text: bytes) -> bytes:
        """An escaped character; in a secret it is one that no detector takes for its end."""
        return b"_" if text in _ENDS_VALUE and self._told_here() else text

    def _told_here(self) -> bool:
        opened, told = self._answer
        if opened != self._opened:
            told = self._is_told(self._opening_bytes())
            self._answer = self._opened, told
        return told

    def _opening_bytes(self) -> bytes:
        opened = self._opened
        return self._opening if opened < 0 else self.raw[max(0, opened - OPENING_LIMIT) : opened]

    def _unit(self, text: bytes, end: int) -> None:
        start = self.at - self._from
        self.units.append(Unit(self.size, self.size + len(text), start, end - self._from))
        self._put(text, end)

    def _put(self, text: bytes, end: int) -> None:
        self.parts.append(text)
        self.size += len(text)
        self.at = end


def _is_cut(raw: bytes, at: int, *, inner: bool) -> bool:
    """Whether the bytes from `at` are the start of an escape that goes on."""
    return bool(_CUT.match(raw, at) or _CUT_PAIR.match(raw, at) or (inner and _CUT_INNER.match(raw, at)))


def _at(mark: Mark) -> int:
    return mark.at
