"""Asks the record for a time range, a piece at a time, so that neither side ever holds all of it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from countersign.errors import CommandError
from countersign.export.windows import TooMuch, Windows
from countersign.record import QueryRefused, Record, lines
from services.recorder.ocsf import ROWS

#: Views that can be exported, with the moment that a range is about and what orders rows within it.
VIEWS: Final = {
    "operations": ("started_at", "operation_id"),
    "denials": ("started_at", "operation_id, rule"),
    "approval_decisions": ("requested_at", "approval_id"),
    "grants_used": ("started_at", "operation_id"),
    "masked_entities": ("started_at", "operation_id, direction, entity"),
    "rows_read": ("started_at", "operation_id, table"),
    "run_steps": ("started_at", "operation_id"),
}
#: ClickHouse's codes for what a shorter piece will not meet: TOO_MANY_ROWS_OR_BYTES, MEMORY_LIMIT_EXCEEDED,
#: TIMEOUT_EXCEEDED.
_TOO_MUCH: Final = frozenset({396, 241, 159})
_SETTINGS: Final = {"date_time_output_format": "iso"}

_ROWS: Final = """
SELECT * FROM {view}
WHERE {moment} >= {{since:DateTime64(3, 'UTC')}} AND {moment} < {{until:DateTime64(3, 'UTC')}} {sessions}
ORDER BY {moment}, {order}
"""
_OF_SESSIONS: Final = "AND session_id IN (SELECT arrayJoin({{sessions:Array(String)}}))"


@dataclass(frozen=True)
class Range:
    """What to export: `since <= moment < until`, of these sessions or of all."""

    since: datetime
    until: datetime
    sessions: Sequence[str] = ()


def pieces(record: Record, view: str, wanted: Range, format_: str) -> Iterator[Iterator[bytes]]:
    """Each piece of the range as ClickHouse formats it. Read one whole before the next. Raises CommandError."""
    moment, order = VIEWS[view]
    sql = _ROWS.format(view=view, moment=moment, order=order, sessions=_sessions(wanted))
    return _each(record, sql, wanted, format_)


def ocsf_rows(record: Record, wanted: Range) -> Iterator[dict[str, Any]]:
    """Rows for `ocsf.event`, in order."""
    sql = ROWS.format(also=_sessions(wanted).replace("session_id", "o.session_id", 1))
    for piece in _each(record, sql, wanted, "JSONEachRow"):
        for line in lines(piece):
            yield json.loads(line)


def _each(record: Record, sql: str, wanted: Range, format_: str) -> Iterator[Iterator[bytes]]:
    windows = Windows(wanted.since, wanted.until)
    for since, until in windows:
        parameters = {"since": _clickhouse(since), "until": _clickhouse(until)}
        if wanted.sessions:
            parameters["sessions"] = "[" + ",".join(f"'{name}'" for name in wanted.sessions) + "]"
        counted = _Counted(lambda bound=parameters: record.ask(sql, format_, bound, _SETTINGS))  # type: ignore[misc]
        try:
            counted.start()
        except QueryRefused as error:
            if error.code not in _TOO_MUCH:
                raise
            _shorten(windows)
            continue
        yield iter(counted)
        windows.answered(counted.size)


def _shorten(windows: Windows) -> None:
    try:
        windows.refused()
    except TooMuch as error:
        raise CommandError(str(error)) from None


class _Counted:
    """An answer whose refusal comes out before its first byte is handed on."""

    def __init__(self, ask: Callable[[], Iterator[bytes]]) -> None:
        self._ask = ask
        self.size = 0

    def start(self) -> None:
        """Raises QueryRefused."""
        self._rest = self._ask()
        self._first = next(self._rest, b"")

    def __iter__(self) -> Iterator[bytes]:
        piece = self._first
        while piece:
            self.size += len(piece)
            yield piece
            piece = next(self._rest, b"")


def _sessions(wanted: Range) -> str:
    return _OF_SESSIONS.format() if wanted.sessions else ""


def _clickhouse(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
