"""Typed rows once more, from the bytes that the log commits to: what every table must hold. Pure.

A typed row holds no content (rows.py blanks it), so it follows from `raw` alone, and can be compared after an erasure.
Counterpart: rows.py, which made the rows the first time; this puts empty values where content was cut out, and asks it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from services.recorder import tables as t
from services.recorder.batch import Delivery
from services.recorder.content import CONTENT
from services.recorder.row_values import NotAnEvent, Row
from services.recorder.rows import build, kind_of
from services.recorder.tables import Table

#: What stands in for content that was cut out; text for all that is not named here.
_EMPTY: Final[Mapping[str, Any]] = {"query": {}, "attributes": {}, "resources": []}
#: Columns that the log's leaf covers byte for byte, or that are compared by their hash.
_COVERED: Final = frozenset({"raw", "content", "content_hash"})


class Stored(NamedTuple):
    """What the log covers of a row of `events` or `session_frames`, as it is stored."""

    stream: str
    epoch: int
    stream_seq: int
    published_at: int
    subject: str
    raw: bytes
    #: Content is apart from `raw`; rows from before that was so have all of it in the clear.
    parted: bool = True


class NotComparable(Exception):
    """The bytes give no row; the text says why."""


def expected(stored: Stored) -> dict[Table, Row]:
    """The row of each table that this message makes; covered columns mean nothing. Raises NotComparable."""
    delivery = Delivery(stored.subject, _filled(stored), stored.stream_seq, 0, stored.published_at)
    made = build([delivery], stored.stream, stored.epoch, parted=stored.parted)
    if t.DEAD_LETTERS in made:
        raise NotComparable(str(made[t.DEAD_LETTERS][0][t.DEAD_LETTERS.columns.index("reason")]))
    return {table: row for table, (row,) in made.items()}


def differing(table: Table, stored: Sequence[Any], wanted: Row) -> list[str]:
    """Columns whose stored value (as JSON shows it: lists for tuples) is not the wanted one."""
    return [
        name
        for name, is_, must in zip(table.columns, stored, wanted, strict=True)
        if is_ != must and name not in _COVERED and not (isinstance(must, tuple) and is_ == list(must))
    ]


def _filled(stored: Stored) -> bytes:
    try:
        kind = kind_of(stored.subject)
        document = orjson.loads(stored.raw)
    except (NotAnEvent, orjson.JSONDecodeError) as error:
        raise NotComparable(str(error)) from None
    for path in CONTENT.get(kind, ()):
        *parents, name = path
        place = document
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict) and name in place and place[name] is None:
            place[name] = _EMPTY.get(name, "")
    return orjson.dumps(document)
