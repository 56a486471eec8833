"""A stream's log against its rows: every checkpoint's signature and root, and every stored row against its leaf.

    checkpoints ◄──signature, root── leaves ◄──hash, position── rows of events / session_frames / dead_letters
    checkpoints.py                   tree.py                    here

ClickHouse hashes the rows and compares them with the leaves; only what differs, and 32 bytes for each leaf, come here.

A row behind the last sealed leaf is *not sealed yet*, which is no finding, as long as it can be that:

| a row behind the end | |
|---|---|
| of the last leaf's epoch, stored since that leaf | not sealed yet |
| of a later epoch that began since that leaf was stored | not sealed yet: the stream was made anew |
| of any other epoch, or stored before the last leaf was, or in the future | added: the recorder seals in order |
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from countersign.proof.checkpoints import Checkpoints
from countersign.proof.findings import Finding, LogReport, Report
from countersign.proof.tree import Walk
from countersign.proof.windows import Window, windows
from countersign.record import Record, rows
from services.recorder.proof.note import VerifierKey

#: Messages compared at a time: an aggregation of some hundred MiB in the engine.
_WINDOW: Final = 250_000
#: Microseconds by which clocks of NATS servers may differ, and a clock may be set back.
_SLACK: Final = 600_000_000

_LEAF: Final = """
SELECT epoch, stream_seq FROM leaves WHERE stream = {stream:String} AND leaf = {leaf:UInt64}
ORDER BY epoch, stream_seq LIMIT 1
"""
_STORED_AT: Final = """
SELECT max(toUnixTimestamp64Micro(published_at)) AS at FROM log_entries
WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq = {seq:UInt64}
"""
_COUNTED: Final = """
SELECT epoch, place, max(n) AS n FROM (
    SELECT epoch, intDiv(stream_seq, {width:UInt64}) AS place, count() AS n FROM events
    WHERE stream = {stream:String} GROUP BY epoch, place
    UNION ALL SELECT epoch, intDiv(stream_seq, {width:UInt64}) AS place, count() FROM session_frames
    WHERE stream = {stream:String} GROUP BY epoch, place
    UNION ALL SELECT epoch, intDiv(stream_seq, {width:UInt64}) AS place, count() FROM dead_letters
    WHERE stream = {stream:String} GROUP BY epoch, place
    UNION ALL SELECT epoch, intDiv(stream_seq, {width:UInt64}) AS place, count() FROM leaves
    WHERE stream = {stream:String} GROUP BY epoch, place
) GROUP BY epoch, place ORDER BY epoch, place
"""
#: `beyond`: leaves that no checkpoint covers, listed with their rows although they agree.
_DIFFERENCES: Final = """
SELECT stream_seq, kind, countIf(side = 1) AS stored, countIf(side = 2) AS sealed, max(id) AS event_id,
       max(number) AS leaf, max(at) AS stored_at, uniqExact(hash) AS hashes
FROM (
    SELECT stream_seq, kind, hash, event_id AS id, 0 AS number, 1 AS side,
           toUnixTimestamp64Micro(published_at) AS at
    FROM log_entries
    WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq >= {first:UInt64}
      AND stream_seq < {end:UInt64}
    UNION ALL
    SELECT DISTINCT stream_seq, kind, hash, '', leaf, 2, 0 FROM leaves
    WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq >= {first:UInt64}
      AND stream_seq < {end:UInt64}
)
GROUP BY stream_seq, kind HAVING stored != 1 OR sealed != 1 OR hashes != 1 OR leaf >= {beyond:UInt64}
ORDER BY stream_seq, kind
"""


@dataclass(frozen=True)
class _End:
    """The last sealed leaf: its place in the stream, and when its message was stored, in microseconds since 1970."""

    epoch: int = 0
    seq: int = 0
    at: int = 0

    def may_follow(self, epoch: int, stored_at: int, now: int) -> bool:
        """Whether a row behind it may be one that the recorder is about to seal."""
        if not self.epoch:
            return True
        explained = epoch == self.epoch or self.at - _SLACK <= epoch <= now + _SLACK
        return explained and self.at - _SLACK <= stored_at <= now + _SLACK


def verify_log(record: Record, stream: str, key: VerifierKey, against: Sequence[str], report: Report) -> None:
    """Check one stream's log; `against` are notes from elsewhere. Raises CommandError."""
    log = LogReport(stream, key.name)
    report.logs.append(log)
    checkpoints = Checkpoints(record, stream, key, report, log)
    Walk(record, log, checkpoints.all(against), report).go()
    end = _end(record, log, log.sealed)
    dropped = _end(record, log, log.dropped)
    log.dropped_to = (dropped.epoch, dropped.seq)
    if log.sealed and (end.epoch, end.seq) != checkpoints.end:
        detail = f"the checkpoint of {log.sealed} events: its columns do not tell its last event"
        report.add(Finding("checkpoint", "checkpoints", detail))
    _check_rows(record, log, end, report)


def _end(record: Record, log: LogReport, leaves: int) -> _End:
    """Of the first `leaves`: taken from the tree, which is signed, and not from what stands beside a checkpoint."""
    found = rows(record, _LEAF, {"stream": log.stream, "leaf": str(leaves - 1)}) if leaves else []
    if not found:
        return _End()
    epoch, seq = int(found[0]["epoch"]), int(found[0]["stream_seq"])
    (row,) = rows(record, _STORED_AT, {"stream": log.stream, "epoch": str(epoch), "seq": str(seq)})
    return _End(epoch, seq, int(row["at"]))


def _check_rows(record: Record, log: LogReport, end: _End, report: Report) -> None:
    """Every row has its leaf, every leaf its row, and they say the same."""
    now = time.time_ns() // 1000
    for row, epoch in _differences(record, log):
        seq, stored, sealed = int(row["stream_seq"]), int(row["stored"]), int(row["sealed"])
        if stored == 1 and (epoch, seq) > (end.epoch, end.seq) and end.may_follow(epoch, int(row["stored_at"]), now):
            log.unsealed += 1
            continue
        if not stored and sealed and int(row["leaf"]) < log.dropped:
            log.expired += 1
            continue
        beyond = stored == 1 and int(row["leaf"]) >= log.sealed
        report.add(
            Finding(*_told(stored, 0 if beyond else sealed, int(row["leaf"]), row["kind"]), seq, row["event_id"])
        )


def _told(stored: int, sealed: int, leaf: int, kind: str) -> tuple[str, str, str]:
    if not stored:
        return "missing", kind, f"leaf {leaf} of the log has no row"
    if not sealed:
        return "added", kind, "the row is not in the log, and is none that was stored since"
    if stored > 1:
        return "duplicated", kind, f"the row is there {stored} times"
    return "changed", kind, "the row is not what the log holds"


def _differences(record: Record, log: LogReport) -> Iterator[tuple[dict[str, Any], int]]:
    for epoch, window in _windows(record, log.stream):
        where = {
            "stream": log.stream,
            "epoch": str(epoch),
            "first": str(window.first),
            "end": str(window.end),
            "beyond": str(log.sealed),
        }
        for row in rows(record, _DIFFERENCES, where):
            yield row, epoch


def _windows(record: Record, stream: str) -> Iterator[tuple[int, Window]]:
    counted: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in rows(record, _COUNTED, {"stream": stream, "width": str(_WINDOW)}):
        counted[int(row["epoch"])].append((int(row["place"]), int(row["n"])))
    for epoch, places in sorted(counted.items()):
        for window in windows(places, _WINDOW, _WINDOW):
            yield epoch, window
