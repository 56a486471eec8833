"""The Merkle tree of a stream's log in ClickHouse: what the sealer goes on from, and what proofs are read from.

Nodes are written before the leaves that complete them, and checkpoints after: whatever a crash leaves behind, the
leaves say how far the tree is. What two sealers write of one leaf is the same, so duplicates tell nothing new.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from services.recorder.clickhouse import Store
from services.recorder.proof.merkle import Frontier, Node, Range, parts
from services.recorder.proof.note import Checkpoint

_LAST_CHECKPOINT: Final = """
SELECT tree_size, root, note FROM checkpoints WHERE stream = {stream:String} ORDER BY tree_size DESC LIMIT 1
"""
_LAST_LEAF: Final = """
SELECT leaf, epoch, stream_seq, kind FROM leaves WHERE stream = {stream:String} ORDER BY leaf DESC LIMIT 1
"""
_LEAVES: Final = """
SELECT leaf AS at, hex(any(hash)) AS hash FROM leaves
WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64} GROUP BY leaf ORDER BY leaf
"""
_NODES: Final = """
SELECT node AS at, hex(any(hash)) AS hash FROM tree_nodes
WHERE stream = {stream:String} AND level = {level:UInt8} AND node >= {first:UInt64} AND node < {end:UInt64}
GROUP BY node ORDER BY node
"""
#: In the order of log_entries.
_ENTRIES: Final = """
SELECT stream_seq, kind, hex(hash) AS hash FROM log_entries
WHERE stream = {stream:String} AND epoch = {epoch:UInt64}
  AND stream_seq > {after:UInt64} AND stream_seq <= {upto:UInt64}
ORDER BY stream_seq, kind
"""
_NEXT: Final = """
SELECT min((epoch, stream_seq)) AS next, count() AS left FROM (
    SELECT epoch, stream_seq FROM events WHERE stream = {stream:String}
        AND (epoch > {epoch:UInt64} OR (epoch = {epoch:UInt64} AND stream_seq > {seq:UInt64}))
    UNION ALL
    SELECT epoch, stream_seq FROM session_frames WHERE stream = {stream:String}
        AND (epoch > {epoch:UInt64} OR (epoch = {epoch:UInt64} AND stream_seq > {seq:UInt64}))
    UNION ALL
    SELECT epoch, stream_seq FROM dead_letters WHERE stream = {stream:String}
        AND (epoch > {epoch:UInt64} OR (epoch = {epoch:UInt64} AND stream_seq > {seq:UInt64}))
)
"""

LEAF_COLUMNS: Final = ("stream", "leaf", "epoch", "stream_seq", "kind", "hash")
NODE_COLUMNS: Final = ("stream", "level", "node", "hash")
CHECKPOINT_COLUMNS: Final = ("origin", "tree_size", "root", "signature", "note", "at", "stream", "epoch", "stream_seq")


class Leaf(NamedTuple):
    """A row of the log that is to be, or was, sealed."""

    epoch: int
    stream_seq: int
    kind: str
    hash: bytes


@dataclass(frozen=True)
class LastLeaf:
    """How far the tree is: its size, and the message that its last leaf stands for."""

    size: int
    epoch: int
    stream_seq: int


class TreeStore:
    """One stream's tree."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._stream = stream

    async def last_checkpoint(self) -> tuple[int, bytes, str] | None:
        """Size, root and note. Raises StoreError."""
        rows = await self._store.query(_LAST_CHECKPOINT, {"stream": self._stream})
        return (int(rows[0]["tree_size"]), bytes.fromhex(rows[0]["root"]), rows[0]["note"]) if rows else None

    async def last_leaf(self) -> LastLeaf:
        """Raises StoreError."""
        rows = await self._store.query(_LAST_LEAF, {"stream": self._stream})
        if not rows:
            return LastLeaf(0, 0, 0)
        return LastLeaf(int(rows[0]["leaf"]) + 1, int(rows[0]["epoch"]), int(rows[0]["stream_seq"]))

    async def frontier(self, size: int) -> Frontier:
        """The tree of the first `size` leaves. Raises StoreError, and MissingHash where the stored tree has a hole."""
        return await self.piece(Range(0, size), size)

    async def piece(self, of: Range, size: int) -> Frontier:
        """The subtree over a range of leaves of a tree of `size`. Raises StoreError, MissingHash."""
        frontier = Frontier()
        for level, first, end in parts(of, size):
            for hash_ in await self.hashes(level, first, end):
                frontier.push(hash_, level)
        return frontier

    async def hashes(self, level: int, first: int, end: int) -> list[bytes]:
        """Hashes of nodes of a level, without a hole. Raises StoreError, MissingHash."""
        where = {"stream": self._stream, "level": level, "first": first, "end": end}
        rows = await self._store.query(_NODES if level else _LEAVES, where)
        if len(rows) != end - first:
            raise MissingHash(f"{end - first - len(rows)} hashes of level {level} from {first} on are missing")
        return [bytes.fromhex(row["hash"]) for row in rows]

    async def entries(self, epoch: int, after: int, upto: int) -> list[Leaf]:
        """What is stored of the stream between two sequences, in the log's order. Raises StoreError."""
        where = {"stream": self._stream, "epoch": epoch, "after": after, "upto": upto}
        return [
            Leaf(epoch, int(row["stream_seq"]), row["kind"], bytes.fromhex(row["hash"]))
            for row in await self._store.query(_ENTRIES, where)
        ]

    async def next(self, epoch: int, seq: int) -> tuple[int, int] | None:
        """Epoch and sequence of the first stored message behind these. Raises StoreError."""
        (row,) = await self._store.query(_NEXT, {"stream": self._stream, "epoch": epoch, "seq": seq})
        return (int(row["next"][0]), int(row["next"][1])) if row["left"] else None

    async def add(self, first: int, leaves: list[Leaf], nodes: list[Node]) -> None:
        """Store leaves from index `first` on, and the nodes that they complete. Raises StoreError."""
        token = f"{self._stream}:{first}-{first + len(leaves)}"
        await self._store.insert(
            "tree_nodes",
            [(self._stream, node.level, node.number, node.hash) for node in nodes],
            NODE_COLUMNS,
            f"{token}:nodes",
        )
        await self._store.insert(
            "leaves",
            [(self._stream, first + at, *leaf) for at, leaf in enumerate(leaves)],
            LEAF_COLUMNS,
            f"{token}:leaves",
        )

    async def note(self, checkpoint: Checkpoint, covers: Leaf, now: int) -> None:
        """Store a checkpoint; `now` in microseconds since 1970. Raises StoreError."""
        signature = checkpoint.note.rstrip("\n").rpartition(" ")[2]
        row = (
            checkpoint.origin,
            checkpoint.size,
            checkpoint.root.hex(),
            signature,
            checkpoint.note,
            now,
            self._stream,
            covers.epoch,
            covers.stream_seq,
        )
        await self._store.insert("checkpoints", [row], CHECKPOINT_COLUMNS, f"{checkpoint.origin}:{checkpoint.size}")


class MissingHash(Exception):
    """The stored tree has a hole."""
