"""Seal a stream's log: add what is stored to the Merkle tree, in stream order, and sign its head.

    load the tree, compare it with its last checkpoint ─► stored messages ─► leaves ─► checkpoint ─► witnesses
                          │ differs                            ▲                          │
                          └─► broken: nothing is signed        └──────────────────────────┘

Runs in the copy that writes the stream, beside the writer and never in its way: what waits here is stored already.
Leaves are computed by ClickHouse from what it holds, so the log commits to what readers are shown.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.recorder.clickhouse import Store
from services.recorder.metrics import Metrics
from services.recorder.position import Position
from services.recorder.proof.merkle import Frontier
from services.recorder.proof.note import BadNote, Checkpoint, sign, verifier_key, verify
from services.recorder.store_errors import StoreError
from services.recorder.tree_store import Leaf, MissingHash, TreeStore

log = structlog.get_logger(__name__)

#: Messages looked at in one go: some MiB of hashes in memory, and a question that ClickHouse answers at once.
WINDOW: Final = 20_000


class Broken(Exception):
    """The stored tree is not the one that was signed: somebody changed it. A person has to look."""


class Sealer:
    """The log of one stream."""

    def __init__(
        self,
        store: Store,
        stream: str,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        position: Callable[[], Position],
        metrics: Metrics,
        publish: Callable[[Checkpoint], None] = lambda _: None,
        window: int = WINDOW,
    ) -> None:
        """`position` tells how far the stream is stored; `publish` gets each new checkpoint and must not wait."""
        self.origin = origin
        self._tree = TreeStore(store, stream)
        self._stream = stream
        self._key = key
        self._position = position
        self._metrics = metrics
        self._publish = publish
        self._window = window
        self._frontier: Frontier | None = None
        #: The last message in the tree.
        self._epoch = 0
        self._seq = 0
        self._signed = 0

    async def run(self, writing: Callable[[], bool], every: float) -> None:
        """Seal again and again while this copy writes the stream."""
        while True:
            await asyncio.sleep(every)
            if not writing():
                self._frontier = None
                continue
            try:
                await self.seal(writing)
                self._metrics.sealing_broken.labels(self._stream).set(0)
            except StoreError as error:
                log.debug("not sealed", stream=self._stream, error=str(error))
                self._frontier = None
            except (Broken, MissingHash) as error:
                log.error("the log cannot be sealed", stream=self._stream, reason=str(error))
                self._metrics.sealing_broken.labels(self._stream).set(1)
                self._frontier = None

    async def seal(self, writing: Callable[[], bool] = lambda: True) -> None:
        """Seal all that is stored now. Raises StoreError, Broken, MissingHash."""
        if self._frontier is None:
            await self._load()
        while writing() and await self._seal_window():
            pass
        position = self._position()
        behind = position.stored - (self._seq if self._epoch == position.epoch else 0)
        self._metrics.unsealed_messages.labels(self._stream).set(max(0, behind))

    async def _load(self) -> None:
        """Go on from what is stored, if it is what was signed."""
        last = await self._tree.last_leaf()
        signed = await self._tree.last_checkpoint()
        position = self._position()
        if (last.epoch, last.stream_seq) > (position.epoch, position.stored):
            raise Broken(f"the tree ends at message {last.stream_seq}, and {position.stored} is stored")
        if signed:
            size, _, note = signed
            await self._compare(size, note, last.size)
            self._signed = size
        self._frontier = await self._tree.frontier(last.size)
        self._epoch, self._seq = last.epoch, last.stream_seq
        if signed and last.size == self._signed:
            self._publish(verify(signed[2], verifier_key(self._key, self.origin)))
        elif last.size > self._signed:
            await self._sign(Leaf(last.epoch, last.stream_seq, "", b""))

    async def _compare(self, size: int, note: str, leaves: int) -> None:
        """Raises Broken."""
        try:
            checkpoint = verify(note, verifier_key(self._key, self.origin))
        except BadNote as error:
            raise Broken(f"the last checkpoint is not ours: {error}") from error
        if checkpoint.size != size or size > leaves:
            raise Broken(f"the last checkpoint is of {checkpoint.size} leaves, {leaves} are there")
        if (await self._tree.frontier(size)).root() != checkpoint.root:
            raise Broken(f"the tree of {size} leaves has another root than its checkpoint")

    async def _seal_window(self) -> bool:
        """Seal the next messages; False when there are none."""
        assert self._frontier is not None
        position = self._position()
        end = (position.epoch, position.stored)
        if (self._epoch, self._seq) >= end:
            return False
        epoch, leaves = self._epoch, await self._entries(self._epoch, self._seq, end)
        if not leaves:
            # The next epoch, or behind a gap: JetStream's sequences have some where messages were removed.
            following = await self._tree.next(self._epoch, self._seq)
            if following and self._epoch and following[0] not in (self._epoch, position.epoch):
                # An epoch in between that was never written by us while there was a log (resume.py): left for `verify`.
                following = await self._tree.next(position.epoch, 0)
            if following is None or following > end:
                return False
            epoch, seq = following
            leaves = await self._entries(epoch, seq - 1, end)
        frontier, self._frontier = self._frontier, None  # unless all goes well, begin again from what is stored
        first = frontier.size
        nodes = frontier.extend([leaf.hash for leaf in leaves])
        await self._tree.add(first, leaves, nodes)
        self._frontier, self._epoch, self._seq = frontier, epoch, leaves[-1].stream_seq
        await self._sign(leaves[-1])
        return True

    async def _entries(self, epoch: int, after: int, end: tuple[int, int]) -> list[Leaf]:
        upto = after + self._window
        return await self._tree.entries(epoch, after, min(upto, end[1]) if epoch == end[0] else upto)

    async def _sign(self, covers: Leaf) -> None:
        assert self._frontier is not None
        head = Checkpoint(self.origin, self._frontier.size, self._frontier.root())
        checkpoint = Checkpoint(head.origin, head.size, head.root, sign(head, self._key))
        await self._tree.note(checkpoint, covers, time.time_ns() // 1000)
        self._signed = head.size
        self._metrics.sealed_leaves.labels(self._stream).set(head.size)
        self._publish(checkpoint)
