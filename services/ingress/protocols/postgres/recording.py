"""Result rows as text for the record, up to a limit; pure.

NDJSON: the first line is an array of column names, each further one an array of values. Text values stand as the
server wrote them; binary ones are read where their type is common, else told by their length, for in hexadecimal no
detector would see what they hold (G4). Counterpart: `Inspector.inspect` masks the lines before they are a frame.
"""

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson

from services.ingress.masking.rows.fields import Field

MEDIA_TYPE = "application/x-ndjson"

#: OIDs of pg_type.dat, the same in every database.
_BYTEA = 17


def _number(layout: str) -> Callable[[bytes], object]:
    unpack = struct.Struct(layout).unpack
    return lambda raw: unpack(raw)[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


_BINARY: Mapping[int, Callable[[bytes], object]] = {
    16: lambda raw: raw != b"\0",
    20: _number("!q"),
    21: _number("!h"),
    23: _number("!i"),
    26: _number("!I"),
    700: _number("!f"),
    701: _number("!d"),
    2950: lambda raw: str(uuid.UUID(bytes=raw)),
    3802: lambda raw: _text(raw[1:]),
    **dict.fromkeys((18, 19, 25, 114, 705, 1042, 1043), _text),
}


class Recording:
    """Keeps the first rows of one result."""

    def __init__(self, limit: int) -> None:
        """`limit` in bytes of text; with 0 nothing is kept."""
        self._room = limit
        self._lines: list[bytes] = []
        #: COPY's own text instead of rows.
        self.is_copy = False
        #: Whether something was left out.
        self.cut = False

    @property
    def wanted(self) -> bool:
        """Whether there is room for more."""
        return self._room > 0

    @property
    def text(self) -> bytes:
        """What was kept."""
        return b"".join(self._lines)

    def columns(self, fields: Sequence[Field]) -> None:
        """The result's columns."""
        self._keep(orjson.dumps([field.name for field in fields]) + b"\n")

    def row(self, fields: Sequence[Field], values: Iterable[bytes | None]) -> None:
        """One row, as it is shown to the agent."""
        known = len(fields)
        shown = [_shown(fields[index] if index < known else Field(), value) for index, value in enumerate(values)]
        self._keep(orjson.dumps(shown, option=orjson.OPT_NON_STR_KEYS, default=str) + b"\n")

    def data(self, data: bytes) -> None:
        """COPY's own text."""
        self.is_copy = True
        self._keep(data)

    def _keep(self, line: bytes) -> None:
        if len(line) > self._room:
            self._room, self.cut = 0, True
            return
        self._lines.append(line)
        self._room -= len(line)


def _shown(field: Field, value: bytes | None) -> object:
    if value is None:
        return None
    if not field.binary:
        return f"[{len(value)} bytes]" if field.type == _BYTEA else _text(value)
    read = _BINARY.get(field.type)
    try:
        return read(value) if read else f"[{len(value)} bytes]"
    except (struct.error, ValueError):
        return f"[{len(value)} bytes]"
