"""Asks the record for a session, or for one operation of it. Counterpart: the views of services/recorder/migrations.

Frames are read in pieces as they are looked at, so that a session of any length can be replayed in the terminal.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from typing import Any, Final

from countersign.errors import CommandError, Misuse
from countersign.record import Parameters, QueryRefused, Record, rows
from countersign.replay.moments import Moment, of_frames, of_operation, of_session
from countersign.replay.visible import visible

Row = dict[str, Any]

#: Operations of one session that are replayed: each is a handful of moments in memory and on the page.
MAX_OPERATIONS: Final = 5_000
#: Steps of a run that are listed beside the session.
MAX_STEPS: Final = 200
#: Frames asked for at once, at most; halved while the answer is too large for the endpoint (reader_settings.py).
FRAMES: Final = 256
#: ClickHouse's codes for an answer or a query that is too large: TOO_MANY_ROWS_OR_BYTES, MEMORY_LIMIT_EXCEEDED,
#: TIMEOUT_EXCEEDED.
_TOO_LARGE: Final = frozenset({396, 241, 159})

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_OF_SESSION, _ITSELF = "session_id = {id:String}", "operation_id = {id:String}"
_SESSION: Final = """
SELECT session_id, protocol, peer, tls, reason, toUnixTimestamp64Micro(started_at) AS started_us,
       toUnixTimestamp64Micro(ifNull(finished_at, toDateTime64(0, 6, 'UTC'))) AS finished_us
FROM sessions WHERE session_id = {session:String} LIMIT 1
"""
_OPERATIONS: Final = """
SELECT operation_id, session_id, toUnixTimestamp64Micro(toDateTime64(started_at, 6, 'UTC')) AS started_us,
       toUnixTimestamp64Micro(ifNull(finished_at, toDateTime64(0, 6, 'UTC'))) AS finished_us, subject, email, connector,
       protocol, action, resources, statement, decision, rules, reason, policy_version, approval_id, approved_by,
       outcome, status, masked, request_bytes, response_bytes, rows, decided_ms, total_ms
FROM operations WHERE {where} ORDER BY started_at, operation_id LIMIT {limit}
"""
_APPROVALS: Final = """
SELECT approval_id, operation_id, rules, asked_groups, quorum, estimated_rows, counted_rows, state, waited_seconds,
       decided_by, reason, break_glass, grant_id, grant_revoked_by,
       toUnixTimestamp64Micro(ifNull(grant_revoked_at, toDateTime64(0, 6, 'UTC'))) AS revoked_us,
       toUnixTimestamp64Micro(requested_at) AS requested_us,
       toUnixTimestamp64Micro(ifNull(resolved_at, toDateTime64(0, 6, 'UTC'))) AS resolved_us
FROM approval_decisions
WHERE operation_id IN (SELECT arrayJoin({operations:Array(String)}))
"""
_REASONS: Final = "SELECT operation_id, caller_reason FROM attempt_details WHERE {where} AND caller_reason != ''"
_ERASURES: Final = """
SELECT toString(toDateTime(requested_at, 'UTC')) AS at, requested_by, reason, keys_left
FROM erased_sessions WHERE session_id = {session:String} ORDER BY requested_at LIMIT 1
"""
_FRAMES: Final = """
SELECT seq, toUnixTimestamp64Micro(at) AS at_us, direction, operation_id, media_type, truncated,
       toValidUTF8(data) AS data
FROM frames WHERE session_id = {session:String} AND seq > {after:UInt64} AND ({operation:String} IN ('', operation_id))
ORDER BY seq LIMIT {limit:UInt32}
"""
_STEPS: Final = """
SELECT run, operation_id, session_id, toUnixTimestamp64Micro(toDateTime64(started_at, 6, 'UTC')) AS started_us, subject,
       connector, action, statement, outcome
FROM run_steps
WHERE started_at BETWEEN {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY AND {since:DateTime64(3, 'UTC')} + INTERVAL 1 DAY
  AND run != '' AND run IN (
    SELECT run FROM run_steps
    WHERE started_at BETWEEN {since:DateTime64(3, 'UTC')} AND {until:DateTime64(3, 'UTC')}
      AND operation_id IN (SELECT arrayJoin({operations:Array(String)})))
ORDER BY started_at, operation_id LIMIT {limit:UInt32}
"""


@dataclass(frozen=True)
class Recording:
    """A session, or one operation of it, without its frames."""

    session: Row | None
    operations: tuple[Row, ...]
    approvals: tuple[Row, ...]
    #: What the same run did within a day, over all of its sessions.
    steps: tuple[Row, ...]
    session_id: str
    #: Set when only this one was asked for.
    operation_id: str = ""
    #: Who had the session's content erased, and when; None while it is there.
    erasure: Row | None = None

    @property
    def cut(self) -> bool:
        """True when there are more operations than are replayed."""
        return len(self.operations) >= MAX_OPERATIONS


def find(record: Record, name: str) -> Recording:
    """The session, or else the operation, of this id. Raises CommandError when there is neither, Misuse for no id."""
    if not _ID.fullmatch(name):
        raise Misuse("ID: name a session or an operation, as `countersign sessions list` shows it")
    found = _session(record, name)
    operations = _operations(record, _OF_SESSION, name, until=found["finished_us"] if found else 0)
    if found is not None or operations:
        return _recording(record, found, operations, name)
    operations = _operations(record, _ITSELF, name)
    if not operations:
        raise CommandError(f"{name}: no session and no operation of that id is on record")
    session_id = operations[0]["session_id"]
    return _recording(record, _session(record, session_id), operations, session_id, operation_id=name)


def moments(record: Record, recording: Recording) -> Iterator[Moment]:
    """Everything in order of time; frames are read on the way."""
    questions = {row["operation_id"]: row for row in recording.approvals}
    told: list[Moment] = []
    if recording.session is not None and not recording.operation_id:
        told += of_session(recording.session)
    for row in recording.operations:
        told += of_operation(row, questions.get(row["operation_id"]))
    told.sort(key=lambda moment: moment.place)
    whole = not recording.operation_id
    return merge(told, of_frames(_frames(record, recording), whole=whole), key=lambda moment: moment.place)


def erased(recording: Recording) -> str:
    """When, by whom and why its content was erased; empty while it is there."""
    if (row := recording.erasure) is None:
        return ""
    why = f": {visible(row['reason'])}" if row["reason"] else ""
    done = "" if int(row["keys_left"]) == 0 else " (not yet done)"
    return f"content erased on {row['at']} UTC by {visible(row['requested_by'])}{why}{done}"


def _recording(
    record: Record, session: Row | None, operations: list[Row], session_id: str, operation_id: str = ""
) -> Recording:
    names = [row["operation_id"] for row in operations]
    approvals = rows(record, _APPROVALS, {"operations": _array(names)}) if names else []
    steps = _run(record, operations) if operations else []
    erasures = rows(record, _ERASURES, {"session": session_id})
    return Recording(
        session,
        tuple(operations),
        tuple(approvals),
        tuple(steps),
        session_id,
        operation_id,
        erasures[0] if erasures else None,
    )


def _run(record: Record, operations: list[Row]) -> list[Row]:
    """The run's steps; none where two days of operations are too many to look through."""
    names = [row["operation_id"] for row in operations]
    limits = {"since": _moment(operations[0]), "until": _moment(operations[-1]), "limit": str(MAX_STEPS)}
    try:
        return rows(record, _STEPS, {"operations": _array(names), **limits})
    except QueryRefused as error:
        if error.code not in _TOO_LARGE:
            raise
        return []


def _session(record: Record, session_id: str) -> Row | None:
    found = rows(record, _SESSION, {"session": session_id})
    return found[0] if found else None


def _operations(record: Record, where: str, identifier: str, *, until: Any = 0) -> list[Row]:
    """Those of a session, or one. `until` is when the session ended, in microseconds; 0 while nobody knows."""
    parameters = {"id": identifier}
    if began := _time_of(identifier):
        # The id's own time lets the tables skip the rest: an operation's is its `started_at`, a session's is before it.
        where += " AND started_at {compare} {began:DateTime64(3, 'UTC')}"
        where = where.replace("{compare}", "=" if where.startswith(_ITSELF) else ">=")
        parameters["began"] = began
    if int(until):
        where += " AND started_at <= {ended:DateTime64(3, 'UTC')}"
        parameters["ended"] = _clickhouse(int(until) / 1_000_000 + 1)
    found = rows(record, _OPERATIONS.replace("{where}", where).replace("{limit}", str(MAX_OPERATIONS)), parameters)
    reasons = rows(record, _REASONS.replace("{where}", where), parameters)
    said = {row["operation_id"]: row["caller_reason"] for row in reasons}
    return [row | {"caller_reason": said.get(row["operation_id"], "")} for row in found]


def _frames(record: Record, recording: Recording) -> Iterator[Row]:
    limit, after = FRAMES, 0
    while True:
        asked: Parameters = {
            "session": recording.session_id,
            "operation": recording.operation_id,
            "after": str(after),
            "limit": str(limit),
        }
        try:
            found = rows(record, _FRAMES, asked)
        except QueryRefused as error:
            if error.code not in _TOO_LARGE or limit == 1:
                raise
            limit //= 2
            continue
        yield from found
        if len(found) < limit:
            return
        after = int(found[-1]["seq"])


def _time_of(identifier: str) -> str | None:
    """The moment in a UUIDv7 (RFC 9562, section 5.7) as ClickHouse reads it, or None."""
    if identifier[14] != "7":
        return None
    return _clickhouse(int(identifier[:8] + identifier[9:13], 16) / 1000)


def _moment(row: Row) -> str:
    return _clickhouse(int(row["started_us"]) / 1_000_000)


def _clickhouse(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _array(values: list[str]) -> str:
    """An Array(String) literal; ids hold nothing that would have to be escaped."""
    return "[" + ",".join(f"'{value}'" for value in values if _ID.fullmatch(value)) + "]"
