"""Seal the content of a batch's rows: the step between rows.py and ClickHouse. Pure; keyring.py has the keys."""

from collections.abc import Mapping
from typing import Final

from services.recorder import tables as t
from services.recorder.content import content_key, seal, sealed_hash
from services.recorder.row_values import Row
from services.recorder.rows import Rows
from services.recorder.tables import Table

#: The tables whose last column is `content`.
_CARRIERS: Final[tuple[Table, ...]] = (*t.WITH_CONTENT, t.SESSION_FRAMES, t.DEAD_LETTERS)
#: An erased session's: nothing is sealed by it.
NO_KEY: Final = b""
#: What stands for content that came after its session's erasure: a nonce, a byte and a tag that no key fits (for no
#: byte ClickHouse takes any tag). Always the same, so that a repeated batch gives the same rows.
GONE: Final = bytes(12 + 1 + 16)
#: Where rows tell whose they are. A dead letter has no session that could be read: its key goes by its own id.
_EVENT_ID: Final = {table: table.columns.index("event_id") for table in (*_CARRIERS, t.EVENTS)}
_SESSION: Final = {
    table: table.columns.index("event_id" if table is t.DEAD_LETTERS else "session_id") for table in _CARRIERS
}


def sessions(rows: Rows) -> list[str]:
    """Whose keys these rows need, each once, in the order of the rows."""
    wanted: dict[str, None] = {}
    for table in _CARRIERS:
        session = _SESSION[table]
        for row in rows.get(table, ()):
            if row[-1]:
                wanted[row[session]] = None
    return list(wanted)


def sealed(rows: Rows, keys: Mapping[str, bytes]) -> Rows:
    """The same rows with their content under the keys of their sessions. Raises KeyError where a key is missing."""
    done: Rows = {}
    hashes: dict[str, str] = {}
    for table in _CARRIERS:
        if table in rows:
            done[table] = [_sealed(table, row, keys, hashes) for row in rows[table]]
    for table, made in rows.items():
        if table is t.EVENTS:
            # The hash is of what the typed row carries: content stands once.
            done[table] = [(*row[:-1], hashes[row[_EVENT_ID[table]]] if row[-1] else "") for row in made]
        elif table not in done:
            done[table] = made
    return done


def _sealed(table: Table, row: Row, keys: Mapping[str, bytes], hashes: dict[str, str]) -> Row:
    content = row[-1]
    if not content:
        return row
    event_id = row[_EVENT_ID[table]]
    key = keys[row[_SESSION[table]]]
    closed = GONE if key == NO_KEY else seal(content_key(key, event_id), event_id, content)
    hashes[event_id] = sealed_hash(closed)
    return (*row[:-1], closed)
