"""Typed tables against the events: every row is what the event's bytes say, once, and nothing else is there.

Messages are taken in windows of their sequence (windows.py): the bytes of a window, and its rows of every typed table.
The expected rows are made again from the bytes (services/recorder/proof/retyping.py) and compared column by column.
Windows are independent, so that several processes compare while this one reads.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import orjson

from countersign.proof.findings import Finding, Report
from countersign.proof.windows import Window as Span
from countersign.proof.windows import windows
from countersign.record import QueryRefused, Record, lines, rows
from schemas.subjects import AUDIT_STREAM
from services.recorder import tables as t
from services.recorder.proof.retyping import NotComparable, Stored, differing, expected
from services.recorder.row_values import NotAnEvent, Row
from services.recorder.rows import table_of
from services.recorder.tables import Table

#: Messages in a window; halved where its bytes are more than an answer may hold (services/recorder/reader_settings.py).
WINDOW: Final = 20_000
#: ClickHouse's TOO_MANY_ROWS_OR_BYTES.
_TOO_MUCH: Final = 396
#: Messages from which other processes are worth their start (a second each).
_WORTH_IT: Final = 100_000
#: Seconds given to a recorder at work to write the events whose typed rows are there already, and between two looks.
IN_FLIGHT: Final = 15.0
_LOOK: Final = 0.2
#: Windows read ahead of those that compare: some hundred MiB at most.
_AHEAD: Final = 4

#: Tables whose rows come from events, and how content is compared in them: by the hash that the event's row has.
TYPED: Final = tuple(table for table in t.WRITING_ORDER if table not in (t.DEAD_LETTERS, t.EVENTS, t.SESSION_FRAMES))
_BOUNDS: Final = """
SELECT max(stream_seq) AS last, count() AS n FROM {table}
"""
_COUNTED: Final = """
SELECT intDiv(stream_seq, {width}) AS place, count() AS n FROM {table} WHERE stream_seq < {end} GROUP BY place
"""
#: So that 64-bit integers and floats come as JSON numbers, whatever an account's profile says.
_SETTINGS: Final = {"output_format_json_quote_64bit_integers": "0", "output_format_json_quote_64bit_floats": "0"}


class Window(NamedTuple):
    """What was read of some messages: JSON rows of each table, in the order of its columns."""

    #: (table's name, column names, lines of JSON arrays)
    tables: list[tuple[str, list[str], list[bytes]]]
    #: Events whose bytes are content whole, opened.
    whole: dict[str, bytes]
    #: Epoch and sequence up to which typed rows may be gone, because a retention takes them before their events.
    dropped_to: tuple[int, int]


class Outcome(NamedTuple):
    """What came of a window."""

    compared: int
    findings: list[Finding]


def verify_tables(record: Record, report: Report, patience: float = IN_FLIGHT) -> None:
    """Compare all there is when it begins. Raises CommandError.

    A recorder writes typed rows first and their events last. So typed rows are looked at up to where they end now, once
    their events are there as well, for which a recorder at work has `patience` seconds.
    """
    columns = _columns(record)
    for raw, typed in ((t.EVENTS, TYPED), (t.SESSION_FRAMES, ())):
        end, count = _bounds(record, (raw, *typed))
        _await_events(record, raw, end, patience)
        with _workers(count) as submit:
            pending: list[Future[Outcome]] = []
            for place in _places(record, (raw, *typed), end):
                for window in _read(record, columns, (raw, *typed), place):
                    pending.append(submit(window._replace(dropped_to=report.dropped_to(AUDIT_STREAM))))
                    if len(pending) > _AHEAD:
                        _take(pending.pop(0), report)
            for future in pending:
                _take(future, report)


def _take(future: "Future[Outcome]", report: Report) -> None:
    outcome = future.result()
    report.compared += outcome.compared
    for finding in outcome.findings:
        report.add(finding)


@contextmanager
def _workers(count: int) -> Iterator[Any]:
    """Answers a function that compares a window, here or in another process."""
    cores = os.cpu_count() or 1
    if count < _WORTH_IT or cores < 2:
        yield _here
        return
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        yield lambda window: pool.submit(compare, window)


def _here(window: Window) -> "Future[Outcome]":
    future: Future[Outcome] = Future()
    future.set_result(compare(window))
    return future


def _bounds(record: Record, tables: Iterable[Table]) -> tuple[int, int]:
    """Where the sequences end and how many messages there are, over all tables: a row may be where no event is."""
    found = [rows(record, _BOUNDS.format(table=table.name))[0] for table in tables]
    there = [(int(row["last"]) + 1, int(row["n"])) for row in found if int(row["n"])]
    return (max(end for end, _ in there), max(count for _, count in there)) if there else (0, 0)


def _places(record: Record, tables: Iterable[Table], end: int) -> Iterator[Span]:
    """Where there is anything below `end`."""
    counted: dict[int, int] = defaultdict(int)
    for table in tables:
        for row in rows(record, _COUNTED.format(table=table.name, width=WINDOW, end=end)):
            counted[int(row["place"])] = max(counted[int(row["place"])], int(row["n"]))
    for place in windows(sorted(counted.items()), WINDOW, WINDOW):
        yield Span(place.first, min(place.end, end))


def _await_events(record: Record, raw: Table, end: int, patience: float) -> None:
    """Return when the events reach `end`, or when they have had their time: then rows without events were added."""
    deadline = time.monotonic() + patience
    while _bounds(record, (raw,))[0] < end and time.monotonic() < deadline:
        time.sleep(_LOOK)


def _columns(record: Record) -> dict[str, dict[str, str]]:
    """For each table, its columns and how each is asked for so that JSON shows what rows.py makes."""
    asked: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows(record, "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"):
        name, kind = row["name"], row["type"]
        if kind.startswith("DateTime64(6"):
            asked[row["table"]][name] = f"toUnixTimestamp64Micro({name})"
        elif kind.startswith("DateTime64(3"):
            asked[row["table"]][name] = f"toUnixTimestamp64Milli({name})"
        elif name == t.CONTENT:
            asked[row["table"]][name] = "if(content = '', '', lower(hex(SHA256(content))))"
        else:
            asked[row["table"]][name] = name
    return asked


def _read(
    record: Record, columns: dict[str, dict[str, str]], tables: tuple[Table, ...], place: Span
) -> Iterator[Window]:
    """One window, or its halves where it is too much for one answer."""
    try:
        found = [_rows_of(record, columns, table, *place) for table in tables]
    except QueryRefused as error:
        if error.code != _TOO_MUCH or place.end - place.first < 2:
            raise
        middle = (place.first + place.end) // 2
        yield from _read(record, columns, tables, Span(place.first, middle))
        yield from _read(record, columns, tables, Span(middle, place.end))
        return
    rejected = _rows_of(record, columns, t.DEAD_LETTERS, *place)
    yield Window([*found, rejected], _opened_whole(record, found[0]), (0, 0))


def _rows_of(
    record: Record, columns: dict[str, dict[str, str]], table: Table, first: int, end: int
) -> tuple[str, list[str], list[bytes]]:
    asked = ", ".join(columns[table.name][name] for name in table.columns)
    sql = f"SELECT {asked} FROM {table.name} WHERE stream_seq >= {first} AND stream_seq < {end}"  # noqa: S608 - our own names
    return table.name, list(table.columns), list(lines(record.ask(sql, "JSONCompactEachRow", {}, _SETTINGS)))


def _opened_whole(record: Record, found: tuple[str, list[str], list[bytes]]) -> dict[str, bytes]:
    """The bytes of events that could not be parted: few, and asked for one by one."""
    table, names, json_rows = found
    raw, event_id = names.index("raw"), names.index("event_id")
    opened = {}
    for row in (_loads(line) for line in json_rows if b'""' in line):
        if row[raw] == "":
            sql = f"SELECT content FROM event_bytes WHERE kind = '{table}' AND event_id = {{id:String}}"  # noqa: S608
            for found_row in rows(record, sql, {"id": str(row[event_id])}):
                opened[str(row[event_id])] = (found_row["content"] or "").encode()
    return opened


#: Rows of one typed table by sequence and event.
_ByEvent = dict[tuple[int, str], list[list[Any]]]


def compare(window: Window) -> Outcome:
    """The findings of one window. Pure; runs in another process too."""
    raw_name, _, raw_rows = window.tables[0]
    typed: dict[str, _ByEvent] = {}
    for name, names, json_rows in window.tables[1:]:
        seq, event_id = names.index("stream_seq"), names.index("event_id")
        found = typed[name] = defaultdict(list)
        for line in json_rows:
            row = _loads(line)
            found[row[seq], row[event_id]].append(row)
    reason = t.DEAD_LETTERS.columns.index("reason")
    letters = typed.pop(t.DEAD_LETTERS.name)
    rejected = {(seq, row[reason].partition(":")[0]) for (seq, _), some in letters.items() for row in some}
    findings: list[Finding] = []
    for line in raw_rows:
        findings += _compare_one(_RAW[raw_name], _loads(line), typed, rejected, window)
    for name, left in typed.items():
        findings += [Finding("added", name, "no event says this", *key) for key, some in left.items() if some]
    return Outcome(len(raw_rows), findings)


#: The tables with the bytes, and where in their rows stands what `Stored` has and what tells of content.
_RAW: Final = {table.name: table for table in (t.EVENTS, t.SESSION_FRAMES)}
_FACTS: Final = ("stream", "epoch", "stream_seq", "published_at", "subject", "raw")
_STORED: Final = {name: [table.columns.index(fact) for fact in _FACTS] for name, table in _RAW.items()}
_HASH: Final = {name: len(table.columns) - 1 for name, table in _RAW.items()}
_EVENT_ID: Final = {name: table.columns.index("event_id") for name, table in _RAW.items()}


def _compare_one(
    raw: Table,
    row: list[Any],
    typed: dict[str, _ByEvent],
    rejected: set[tuple[int, str]],
    window: Window,
) -> Iterator[Finding]:
    """One event: its own columns, then its typed row, which is taken out of `typed`."""
    event_id, hash_ = row[_EVENT_ID[raw.name]], row[_HASH[raw.name]]
    stream, epoch, seq, published_at, subject, text = (row[at] for at in _STORED[raw.name])
    data = text.encode("utf-8", "surrogatepass") or window.whole.get(event_id, b"")
    if not data and hash_:
        try:
            table = table_of(subject)
        except NotAnEvent as error:
            yield Finding("changed", raw.name, str(error), seq, event_id)
            return
        gone = (epoch, seq) <= window.dropped_to and not typed.get(table.name, {}).get((seq, event_id))
        if (seq, table.name) not in rejected and not gone:
            yield from _compare_closed(table, typed, (seq, event_id), hash_)
        return
    try:
        wanted = expected(Stored(stream, epoch, seq, published_at, subject, data, bool(hash_)))
    except NotComparable as error:
        yield Finding("changed", raw.name, f"its bytes are no event: {error}", seq, event_id)
        return
    for table, values in wanted.items():
        if table is raw:
            yield from _differences(table, row, values, seq, event_id)
            continue
        there = typed[table.name].pop((seq, event_id), [])
        gone = (epoch, seq) <= window.dropped_to and table is not t.ERASURES
        if not there and (seq, table.name) not in rejected and not gone:
            yield Finding("missing", table.name, "its event is in the log", seq, event_id)
        if len(there) > 1:
            yield Finding("duplicated", table.name, f"the row is there {len(there)} times", seq, event_id)
        for one in there:
            yield from _differences(table, one, values, seq, event_id)
            if table in t.WITH_CONTENT and one[-1] != hash_:
                yield Finding("changed", table.name, "content is not what the log holds", seq, event_id)


def _compare_closed(table: Table, typed: dict[str, _ByEvent], key: tuple[int, str], hash_: str) -> Iterator[Finding]:
    """An event that was content whole, and cannot be opened: its typed row is there once, with the content it had."""
    if table.name not in typed:
        return  # a frame: its content stands beside its bytes, under the leaf
    there = typed[table.name].pop(key, [])
    if len(there) != 1:
        yield Finding("missing" if not there else "duplicated", table.name, "its event is in the log", *key)
    for one in there:
        if one[-1] != hash_:
            yield Finding("changed", table.name, "content is not what the log holds", *key)


def _differences(table: Table, row: list[Any], wanted: Row, seq: int, event_id: str) -> Iterator[Finding]:
    if names := differing(table, row, wanted):
        yield Finding("changed", table.name, f"{', '.join(names)}: not what its event says", seq, event_id)


def _loads(line: bytes) -> list[Any]:
    """A row; bytes that are no UTF-8 are none that an event wrote, and differ from it as replacement characters."""
    try:
        found: list[Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = orjson.loads(line.decode("utf-8", "replace"))
    return found
