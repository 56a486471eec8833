"""A stream's log against its rows: every checkpoint's signature and root, and every stored row against its leaf.

    checkpoints ◄──signature, root── leaves ◄──hash, position── rows of events / session_frames / dead_letters

ClickHouse hashes the rows and compares them with the leaves; only what differs, and 32 bytes for each leaf, come here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from countersign.proof.findings import Finding, LogReport, Report
from countersign.record import Record, rows
from services.recorder.proof.merkle import HASH_BYTES, Frontier, Node
from services.recorder.proof.note import BadNote, Checkpoint, VerifierKey, expired_origin, verify

#: Leaves fetched at a time (16 MiB), and messages compared at a time: an aggregation of some hundred MiB in the engine.
_LEAVES: Final = 500_000
_WINDOW: Final = 250_000

_CHECKPOINTS: Final = """
SELECT origin, tree_size, root, note, epoch, stream_seq FROM checkpoints WHERE stream = {stream:String}
ORDER BY tree_size, at
"""
_COUNT: Final = """
SELECT count() AS rows, max(leaf) AS last FROM leaves WHERE stream = {stream:String}
"""
_DOUBTFUL: Final = """
SELECT leaf, min(stream_seq) AS seq FROM leaves
WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
GROUP BY leaf HAVING uniqExact(epoch, stream_seq, kind, hash) > 1 ORDER BY leaf LIMIT 50
"""
_DISORDERED: Final = """
SELECT leaf, stream_seq FROM (
    SELECT leaf, stream_seq, (epoch, stream_seq, kind) AS here,
           lagInFrame(here) OVER (ORDER BY leaf ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM (SELECT DISTINCT leaf, epoch, stream_seq, kind FROM leaves WHERE stream = {stream:String}
          AND leaf >= {first:UInt64} AND leaf <= {end:UInt64})
) WHERE here <= before AND leaf > {first:UInt64} ORDER BY leaf LIMIT 50
"""
_HASHES: Final = """
SELECT any(hash) FROM leaves WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
GROUP BY leaf ORDER BY leaf
"""
_RETENTIONS: Final = "SELECT note FROM retentions WHERE stream = {stream:String} ORDER BY leaves"
_NODES: Final = """
SELECT DISTINCT level, node, hex(hash) AS hash FROM tree_nodes WHERE stream = {stream:String} ORDER BY level, node
"""
_EPOCHS: Final = """
SELECT epoch, min(stream_seq) AS first, max(stream_seq) AS last FROM (
    SELECT epoch, stream_seq FROM events WHERE stream = {stream:String}
    UNION ALL SELECT epoch, stream_seq FROM session_frames WHERE stream = {stream:String}
    UNION ALL SELECT epoch, stream_seq FROM dead_letters WHERE stream = {stream:String}
    UNION ALL SELECT epoch, stream_seq FROM leaves WHERE stream = {stream:String}
) GROUP BY epoch ORDER BY epoch
"""
_DIFFERENCES: Final = """
SELECT stream_seq, kind, countIf(side = 1) AS stored, countIf(side = 2) AS sealed, max(id) AS event_id,
       max(leaf) AS leaf
FROM (
    SELECT stream_seq, kind, hash, event_id AS id, 0 AS leaf, 1 AS side FROM log_entries
    WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq >= {first:UInt64}
      AND stream_seq < {end:UInt64}
    UNION ALL
    SELECT DISTINCT stream_seq, kind, hash, '', leaf, 2 FROM leaves
    WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq >= {first:UInt64}
      AND stream_seq < {end:UInt64}
)
GROUP BY stream_seq, kind HAVING stored != 1 OR sealed != 1 OR uniqExact(hash) != 1
ORDER BY stream_seq, kind
"""


@dataclass(frozen=True)
class _Known:
    """A checkpoint to compare with, and where it came from."""

    checkpoint: Checkpoint
    place: str


def verify_log(record: Record, stream: str, key: VerifierKey, against: Sequence[str], report: Report) -> None:
    """Check one stream's log; `against` are notes from elsewhere. Raises CommandError."""
    log = LogReport(stream, key.name)
    report.logs.append(log)
    known, end = _checkpoints(record, stream, key, log, report)
    expired = _expired(record, stream, key, known, report)
    known += _elsewhere(against, key, {one.checkpoint.size for one in known}, report)
    _check_tree(record, stream, known, log, report)
    _check_rows(record, stream, log, end, expired, report)


def _expired(record: Record, stream: str, key: VerifierKey, known: list[_Known], report: Report) -> int:
    """How many leaves the recorder says it dropped the rows of; their root is compared with the others."""
    leaves = 0
    for row in rows(record, _RETENTIONS, {"stream": stream}):
        try:
            checkpoint = verify(row["note"], VerifierKey(expired_origin(key.name), key.public))
        except BadNote as error:
            report.add(Finding("checkpoint", "retentions", str(error)))
            continue
        known.append(_Known(checkpoint, f"the note about {checkpoint.size} expired events"))
        leaves = max(leaves, checkpoint.size)
    return leaves


def _checkpoints(
    record: Record, stream: str, key: VerifierKey, log: LogReport, report: Report
) -> tuple[list[_Known], tuple[int, int]]:
    """Those that are signed, and the last message that they cover."""
    known = []
    end = (0, 0)
    for row in rows(record, _CHECKPOINTS, {"stream": stream}):
        size = int(row["tree_size"])
        where = f"the checkpoint of {size} events"
        try:
            checkpoint = verify(row["note"], key)
        except BadNote as error:
            report.add(Finding("checkpoint", "checkpoints", f"{where}: {error}"))
            continue
        if (checkpoint.size, checkpoint.root.hex(), checkpoint.origin) != (size, row["root"], row["origin"]):
            report.add(Finding("checkpoint", "checkpoints", f"{where}: its columns are not what was signed"))
            continue
        known.append(_Known(checkpoint, where))
        log.checkpoints += 1
        if size >= log.sealed:
            log.sealed, end = size, (int(row["epoch"]), int(row["stream_seq"]))
    return known, end


def _elsewhere(against: Sequence[str], key: VerifierKey, here: set[int], report: Report) -> list[_Known]:
    """Checkpoints that somebody else kept: they were stored here before they were given away."""
    found = []
    for note in against:
        try:
            checkpoint = verify(note, key)
        except BadNote as error:
            report.add(Finding("checkpoint", "elsewhere", str(error)))
            continue
        report.against += 1
        found.append(_Known(checkpoint, f"the checkpoint of {checkpoint.size} events from elsewhere"))
        if checkpoint.size not in here:
            report.add(Finding("checkpoint", "checkpoints", f"{found[-1].place} is gone here"))
    return found


def _check_tree(record: Record, stream: str, known: list[_Known], log: LogReport, report: Report) -> None:
    """The leaves give the root of every checkpoint."""
    (count,) = rows(record, _COUNT, {"stream": stream})
    log.leaves = int(count["last"]) + 1 if int(count["rows"]) else 0
    log.unsealed = max(0, log.leaves - log.sealed)
    for first in range(0, log.leaves, _LEAVES):
        window = {"stream": stream, "first": str(first), "end": str(first + _LEAVES)}
        for row in rows(record, _DOUBTFUL, window):
            detail = f"leaf {row['leaf']} is there twice, differently"
            report.add(Finding("tree", "leaves", detail, int(row["seq"])))
        window["first"] = str(max(first - 1, 0))
        for row in rows(record, _DISORDERED, window):
            report.add(Finding("tree", "leaves", f"leaf {row['leaf']} is out of order", int(row["stream_seq"])))
    wanted = sorted(known, key=lambda one: one.checkpoint.size)
    frontier, nodes, good = Frontier(), list[Node](), 0
    for one in wanted:
        if one.checkpoint.size > log.leaves:
            report.add(
                Finding("truncated", "leaves", f"{one.place} covers {one.checkpoint.size}, {log.leaves} are there")
            )
            continue
        if missing := _grow(record, stream, frontier, nodes, one.checkpoint.size):
            report.add(Finding("tree", "leaves", f"{missing} leaves are missing below leaf {one.checkpoint.size}"))
            break
        if frontier.root() == one.checkpoint.root:
            good = one.checkpoint.size
        else:
            detail = f"{one.place} has another root: a leaf from {good} up to {one.checkpoint.size - 1} was changed"
            report.add(Finding("tree", "leaves", detail))
            good = one.checkpoint.size
    _check_nodes(record, stream, nodes, report)


def _check_nodes(record: Record, stream: str, nodes: list[Node], report: Report) -> None:
    """Proofs are read from the kept nodes: they are those of the leaves."""
    wanted = {(node.level, node.number): node.hash.hex().upper() for node in nodes}
    for row in rows(record, _NODES, {"stream": stream}):
        place = (int(row["level"]), int(row["node"]))
        # A node above the last checkpoint was not made again here.
        if wanted.pop(place, row["hash"]) != row["hash"]:
            report.add(Finding("tree", "tree_nodes", f"node {place[1]} of level {place[0]} is not that of its leaves"))
    for level, number in wanted:
        report.add(Finding("tree", "tree_nodes", f"node {number} of level {level} is missing"))


def _grow(record: Record, stream: str, frontier: Frontier, nodes: list[Node], size: int) -> int:
    """Answers how many leaves are missing on the way."""
    while frontier.size < size:
        end = min(size, frontier.size + _LEAVES)
        window = {"stream": stream, "first": str(frontier.size), "end": str(end)}
        hashes = b"".join(record.ask(_HASHES, "RowBinary", window))
        if missing := end - frontier.size - len(hashes) // HASH_BYTES:
            return missing
        nodes += frontier.extend([hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])
    return 0


def _check_rows(
    record: Record, stream: str, log: LogReport, end: tuple[int, int], expired: int, report: Report
) -> None:
    """Every row has its leaf, every leaf its row, and they say the same."""
    for row, epoch in _differences(record, stream):
        position = (epoch, int(row["stream_seq"]))
        stored, sealed = int(row["stored"]), int(row["sealed"])
        if stored == 1 and not sealed and position > end:
            log.unsealed += 1
            continue
        if not stored and sealed and int(row["leaf"]) < expired:
            log.expired += 1
            continue
        report.add(Finding(*_told(stored, sealed, int(row["leaf"]), row["kind"]), position[1], row["event_id"]))


def _told(stored: int, sealed: int, leaf: int, kind: str) -> tuple[str, str, str]:
    if not stored:
        return "missing", kind, f"leaf {leaf} of the log has no row"
    if not sealed:
        return "added", kind, "the row is not in the log, and later ones are"
    if stored > 1:
        return "duplicated", kind, f"the row is there {stored} times"
    return "changed", kind, "the row is not what the log holds"


def _differences(record: Record, stream: str) -> Iterator[tuple[dict[str, Any], int]]:
    for epoch in rows(record, _EPOCHS, {"stream": stream}):
        for first in range(int(epoch["first"]), int(epoch["last"]) + 1, _WINDOW):
            window = {
                "stream": stream,
                "epoch": str(epoch["epoch"]),
                "first": str(first),
                "end": str(min(first + _WINDOW, int(epoch["last"]) + 1)),
            }
            for row in rows(record, _DIFFERENCES, window):
                yield row, int(epoch["epoch"])
