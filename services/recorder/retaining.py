"""Drop what is older than `audit.retention`, and sign that it was us: the first leaves of a log lose their rows.

    leaves 0 … N-1 are old ─► note over their root, signed, in `retentions` ─► typed rows ─► events and frames ─► keys

The leaves stay, so that every checkpoint and later proof holds; the note is a checkpoint of its own (`<log>/expired`, N
leaves and their root), and tells `audit verify` that rows which are missing there are missing for a reason. It is
written before anything is deleted: what a crash leaves behind goes in the next round. The newest row always stays,
because a writer that lost its position looks for it (resume.py); so do erasures, which explain what cannot be opened.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.subjects import AUDIT_STREAM
from services.recorder import tables as t
from services.recorder.clickhouse import Store
from services.recorder.proof.note import Checkpoint, expired_origin, sign
from services.recorder.store_errors import StoreError
from services.recorder.tree_store import MissingHash, TreeStore

log = structlog.get_logger(__name__)

#: Seconds between two rounds, and leaves in one: the ids of so many events are in ClickHouse's memory at a time.
_INTERVAL: Final = 3600.0
AT_ONCE: Final = 1_000_000
#: Seconds a deletion may take; it rewrites the parts that hold old rows.
_TIMEOUT: Final = 1800.0

_COLUMNS: Final = ("stream", "leaves", "before", "note", "at")
_TYPED: Final = tuple(
    table for table in t.WRITING_ORDER if table not in (t.DEAD_LETTERS, t.EVENTS, t.SESSION_FRAMES, t.ERASURES)
)
_RAW: Final = (t.DEAD_LETTERS, t.EVENTS, t.SESSION_FRAMES)

_DONE: Final = "SELECT max(leaves) AS n FROM retentions WHERE stream = {stream:String}"
#: The first message that stays: the oldest that is young enough, or the newest of all.
_BOUNDARY: Final = """
SELECT if(countIf(young) > 0, minIf((epoch, stream_seq), young), max((epoch, stream_seq))) AS boundary, count() AS n
FROM (
    SELECT epoch, stream_seq, published_at >= fromUnixTimestamp64Micro({before:Int64}) AS young
    FROM log_entries WHERE stream = {stream:String}
)
"""
_LEAF: Final = """
SELECT min(leaf) AS leaf, count() AS n FROM leaves
WHERE stream = {stream:String} AND epoch = {epoch:UInt64} AND stream_seq = {seq:UInt64}
"""
_AT: Final = "SELECT epoch, stream_seq FROM leaves WHERE stream = {stream:String} AND leaf = {leaf:UInt64} LIMIT 1"
_OLD: Final = "stream = '{stream}' AND (epoch, stream_seq) < ({epoch}, {seq})"
_KEYS: Final = """
ALTER TABLE session_keys DELETE WHERE created_at < fromUnixTimestamp64Micro({before})
    AND session_id NOT IN (SELECT session_id FROM attempts) AND session_id NOT IN (SELECT session_id FROM outcomes)
    AND session_id NOT IN (SELECT session_id FROM approval_requests)
    AND session_id NOT IN (SELECT session_id FROM session_frames)
    AND session_id NOT IN (SELECT event_id FROM dead_letters)
SETTINGS mutations_sync = 2
"""


class Retainer:
    """Keeps one stream's record no longer than it may be kept."""

    def __init__(self, store: Store, stream: str, *, origin: str, key: Ed25519PrivateKey, retention: float) -> None:
        """`retention` in seconds."""
        self._store = store
        self._stream = stream
        self._origin = expired_origin(origin)
        self._key = key
        self._retention = retention
        self._tree = TreeStore(store, stream)

    async def run(self, writing: Callable[[], bool], interval: float = _INTERVAL) -> None:
        """Round after round while this copy writes the stream."""
        while True:
            if writing():
                try:
                    while await self.retain(time.time()):
                        pass
                except (StoreError, MissingHash) as error:
                    log.error("old events are not dropped yet", stream=self._stream, error=str(error))
            await asyncio.sleep(interval)

    async def retain(self, now: float) -> bool:
        """One round; `now` in seconds since 1970. True when there is more to drop. Raises StoreError, MissingHash."""
        before = int((now - self._retention) * 1_000_000)
        (done,) = await self._store.query(_DONE, {"stream": self._stream})
        wanted = await self._old_leaves(before)
        leaves = min(wanted, int(done["n"]) + AT_ONCE)
        if leaves > int(done["n"]):
            await self._note(leaves, before)
        if leaves := max(leaves, int(done["n"])):
            await self._drop(leaves, before)
        return leaves < wanted

    async def _old_leaves(self, before: int) -> int:
        """How many leaves at the log's beginning are old, of those that a checkpoint covers."""
        (row,) = await self._store.query(_BOUNDARY, {"stream": self._stream, "before": before})
        if not row["n"]:
            return 0
        epoch, seq = row["boundary"]
        (leaf,) = await self._store.query(_LEAF, {"stream": self._stream, "epoch": epoch, "seq": seq})
        signed = await self._tree.last_checkpoint()
        return min(int(leaf["leaf"]), signed[0] if signed else 0) if leaf["n"] else 0

    async def _note(self, leaves: int, before: int) -> None:
        head = Checkpoint(self._origin, leaves, (await self._tree.frontier(leaves)).root())
        row = (self._stream, leaves, before, sign(head, self._key), time.time_ns() // 1000)
        await self._store.insert("retentions", [row], _COLUMNS, f"{self._origin}:{leaves}")
        log.warning("old events are dropped", stream=self._stream, leaves=leaves)

    async def _drop(self, leaves: int, before: int) -> None:
        """Delete what is there below leaf `leaves`; asks first, because a deletion that finds nothing costs too."""
        (row,) = await self._store.query(_AT, {"stream": self._stream, "leaf": leaves})
        old = _OLD.format(stream=self._stream, epoch=int(row["epoch"]), seq=int(row["stream_seq"]))
        ids = f"SELECT event_id FROM events WHERE {old} AND type != 'ContentErased'"  # noqa: S608 - our own names
        if self._stream == AUDIT_STREAM:
            for table in _TYPED:
                await self._delete(table, f"event_id IN ({ids})")
        for table in _RAW:
            kept = " AND type != 'ContentErased'" if table is t.EVENTS else ""
            await self._delete(table, f"{old}{kept}")
        await self._store.command(_KEYS.format(before=before), timeout=_TIMEOUT)

    async def _delete(self, table: t.Table, where: str) -> None:
        (row,) = await self._store.query(f"SELECT count() AS n FROM {table.name} WHERE {where}")  # noqa: S608
        if row["n"]:
            await self._store.command(
                f"ALTER TABLE {table.name} DELETE WHERE {where} SETTINGS mutations_sync = 2", timeout=_TIMEOUT
            )
