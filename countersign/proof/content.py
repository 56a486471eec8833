"""Content that cannot be opened: gone by an erasure that is on record, or changed. ClickHouse tries all of it."""

from typing import Final

from countersign.proof.findings import Finding, Report
from countersign.record import Record, rows

#: Table, and what names the session whose key opens a row.
_CARRIERS: Final = (
    ("attempts", "session_id"),
    ("outcomes", "session_id"),
    ("approval_requests", "session_id"),
    ("session_frames", "session_id"),
    ("dead_letters", "event_id"),
)
_UNREADABLE: Final = """
SELECT stream_seq, event_id, {session} AS session FROM {table}
WHERE content != '' AND isNull(opened) AND {session} NOT IN (SELECT session_id FROM erasures)
ORDER BY stream_seq LIMIT 100
"""
#: A key that was left in spite of an erasure: the recorder has not come to it, or somebody put it back.
_LEFT: Final = """
SELECT session_id FROM erased_sessions WHERE keys_left > 0 AND requested_at < now() - 60 LIMIT 100
"""


def verify_content(record: Record, report: Report) -> None:
    """Find what nobody had erased and cannot be opened. Raises CommandError."""
    for table, session in _CARRIERS:
        for row in rows(record, _UNREADABLE.format(table=table, session=session)):
            detail = f"content cannot be opened, and nobody had session {row['session']} erased"
            report.add(Finding("unreadable", table, detail, int(row["stream_seq"]), row["event_id"]))
    (count,) = rows(record, "SELECT uniqExact(session_id) AS n FROM erasures")
    report.erased_sessions = int(count["n"])
    for row in rows(record, _LEFT):
        report.add(Finding("unreadable", "session_keys", f"session {row['session_id']} is erased and still has a key"))
