"""Inclusion proofs of an operation's events, from the stored tree. Counterpart: services/recorder/proof/bundle.py."""

from typing import Any, Final

from countersign.errors import CommandError
from countersign.record import Record, rows
from services.recorder.proof.bundle import Bundle, ProvenEvent, proof_text
from services.recorder.proof.merkle import (
    HASH_BYTES,
    Frontier,
    Range,
    inclusion_path,
    leaf_hash,
    parts,
    root_from_inclusion,
)
from services.recorder.proof.note import Checkpoint, read

_EVENTS: Final = """
SELECT stream, epoch, stream_seq, 'events' AS kind, event_id, type FROM events WHERE operation_id = {id:String}
UNION ALL
SELECT stream, epoch, stream_seq, 'session_frames', event_id, 'SessionFrame' FROM session_frames
WHERE operation_id = {id:String}
ORDER BY stream, epoch, stream_seq
"""
_LEAF: Final = """
SELECT leaf FROM leaves WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq = {seq:UInt64}
    AND kind = {kind:String} LIMIT 1
"""
_ENTRY: Final = """
SELECT entry FROM log_entries WHERE stream = {stream:String} AND epoch = {epoch:UInt64}
    AND stream_seq = {seq:UInt64} AND kind = {kind:String}
"""
_BYTES: Final = """
SELECT raw, base64Encode(sealed) AS sealed, lower(content_key) AS content_key, isNull(content) AS erased
FROM event_bytes WHERE event_id = {id:String} AND kind = {kind:String} LIMIT 1
"""
_CHECKPOINT: Final = """
SELECT note FROM checkpoints WHERE stream = {stream:String} ORDER BY tree_size DESC LIMIT 1
"""
_HASHES: Final = """
SELECT any(hash) FROM leaves WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
GROUP BY leaf ORDER BY leaf
"""
_NODES: Final = """
SELECT any(hash) FROM tree_nodes WHERE stream = {stream:String} AND level = {level:UInt8}
    AND node >= {first:UInt64} AND node < {end:UInt64}
GROUP BY node ORDER BY node
"""


def prove(record: Record, operation: str, *, reveal: bool) -> Bundle:
    """Proofs of every event of an operation. Raises CommandError when one is not sealed yet, or none is there."""
    found = rows(record, _EVENTS, {"id": operation})
    if not found:
        raise CommandError(f"{operation} is not on record")
    return Bundle(operation_id=operation, events=[_proven(record, event, reveal) for event in found])


def _proven(record: Record, event: dict[str, Any], reveal: bool) -> ProvenEvent:
    stream = event["stream"]
    where = {
        "stream": stream,
        "epoch": str(event["epoch"]),
        "seq": str(event["stream_seq"]),
        "kind": event["kind"],
    }
    leaves = rows(record, _LEAF, where)
    notes = rows(record, _CHECKPOINT, {"stream": stream})
    checkpoint = read(notes[0]["note"]) if notes else None
    if not leaves or checkpoint is None or int(leaves[0]["leaf"]) >= checkpoint.size:
        raise CommandError(f"{event['event_id']} is not under a checkpoint yet: try again in a moment")
    index = int(leaves[0]["leaf"])
    entry = rows(record, _ENTRY, where)[0]["entry"].encode()
    path = [_hash_of(record, stream, step, checkpoint.size) for step in inclusion_path(index, checkpoint.size)]
    _must_hold(index, checkpoint, entry, path, event["event_id"])
    data = rows(record, _BYTES, {"id": event["event_id"], "kind": event["kind"]})[0]
    shown = reveal and data["sealed"] and not data["erased"]
    return ProvenEvent(
        event_id=event["event_id"],
        type=event["type"],
        proof=proof_text(entry, index, path, checkpoint.note),
        raw=data["raw"],
        sealed=data["sealed"] if shown else "",
        content_key=data["content_key"] if shown else "",
    )


def _must_hold(index: int, checkpoint: Checkpoint, entry: bytes, path: list[bytes], event_id: str) -> None:
    if root_from_inclusion(index, checkpoint.size, leaf_hash(entry), path) != checkpoint.root:
        raise CommandError(f"{event_id} cannot be proven: it was changed; `countersign audit verify` tells what")


def _hash_of(record: Record, stream: str, of: Range, size: int) -> bytes:
    """The hash of a subtree, from the nodes that are kept."""
    frontier = Frontier()
    for level, first, end in parts(of, size):
        where = {"stream": stream, "level": str(level), "first": str(first), "end": str(end)}
        hashes = b"".join(record.ask(_NODES if level else _HASHES, "RowBinary", where))
        if len(hashes) != (end - first) * HASH_BYTES:
            raise CommandError("the stored tree has a hole; `countersign audit verify` tells where")
        for at in range(0, len(hashes), HASH_BYTES):
            frontier.push(hashes[at : at + HASH_BYTES], level)
    return frontier.root()
