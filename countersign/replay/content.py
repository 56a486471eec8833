"""Recorded content as what a person can look at: prose, a table, a terminal, or the text as it is. Pure.

Nothing here is trusted: what does not parse is shown as text, with the control characters visible.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

from countersign.replay import llm
from countersign.replay.visible import visible, without_sequences

#: Rows of one frame that are laid out; the rest is counted. A person scrolls no further, and a browser slows down.
MAX_ROWS: Final = 500
#: Characters of one cell, and of one text.
MAX_CELL: Final = 2_000
MAX_TEXT: Final = 200_000
#: asciicast v2 and v3 (docs.asciinema.org): a JSON header line, then one `[time, code, data]` per line.
ASCIICAST: Final = frozenset({"application/x-asciicast", "application/asciicast"})
#: One JSON value per line: first the names of the columns, then each row's values; or an object per row.
NDJSON: Final = frozenset(
    {"application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/ndjson"}
)
CSV: Final = "text/csv"
#: What the record says in place of content whose key was deleted (`countersign audit erase`).
ERASED: Final = "[erased]"


@dataclass(frozen=True)
class Text:
    """What a person would read; `raw` is what was recorded, where the words were found inside it."""

    text: str
    raw: str = ""


@dataclass(frozen=True)
class Table:
    """Rows as they were recorded; `left_out` counts those that are not laid out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Cast:
    """Lines of a terminal recording, to be joined with those of the same operation."""

    lines: str
    text: str


Block = Text | Table | Cast


def block(media_type: str, data: str, direction: str) -> Block:
    """What to show for one frame."""
    media = media_type.partition(";")[0].strip().lower()
    if data == ERASED:
        return Text(ERASED)
    if media in ASCIICAST:
        return Cast(data, _terminal(data))
    if media in NDJSON and (table := _ndjson(data)):
        return table
    if media == CSV and (table := _csv(data)):
        return table
    words = llm.asked(data) if direction == "request" else llm.said(media, data)
    return Text(_cut(words), raw=_cut(data)) if words else Text(_cut(_indented(media, data)))


def _cut(text: str) -> str:
    text = visible(text[: MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[…]"


def _indented(media: str, data: str) -> str:
    """JSON laid out; anything else as it is."""
    if not (media.endswith("json") and len(data) <= MAX_TEXT):
        return data
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data


def _ndjson(data: str) -> Table | None:
    """None unless each line fits; the last may be cut by the recording's limit and then is left out."""
    values = list(_values(data))
    if not values:
        return None
    if all(isinstance(value, dict) for value in values):
        columns = tuple(dict.fromkeys(name for value in values for name in value))
        return _table(columns, [tuple(value.get(name) for name in columns) for value in values])
    if all(isinstance(value, list) for value in values) and all(isinstance(name, str) for name in values[0]):
        return _table(tuple(values[0]), [tuple(value) for value in values[1:]])
    return None


def _values(data: str) -> Iterator[Any]:
    lines = [line for line in data.split("\n") if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            if number < len(lines):
                yield None


def _csv(data: str) -> Table | None:
    try:
        rows = list(csv.reader(StringIO(data), strict=True))
    except csv.Error:
        return None
    return _table(tuple(rows[0]), [tuple(row) for row in rows[1:]]) if rows else None


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    laid_out = tuple(tuple(map(_cell, row)) for row in rows[:MAX_ROWS])
    return Table(tuple(map(visible, columns)), laid_out, max(0, len(rows) - MAX_ROWS))


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text) if len(text) <= MAX_CELL else f"{visible(text[:MAX_CELL])} […]"


def _terminal(data: str) -> str:
    """What the terminal wrote, without what steered it."""
    events = (value for value in _values(data) if isinstance(value, list) and len(value) == 3)
    return without_sequences("".join(str(event[2]) for event in events if event[1] == "o"))
