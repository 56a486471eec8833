"""The writer's seat of one stream: position.py's state in the bucket `recorder`, moved by compare-and-set.

A copy that holds the seat renews it; the others watch the entry and take it when it has not changed for a lease, by
their own clock. Nobody relies on time for safety: a holder that was away too long fails at its next move.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.recorder.position import Position, Watch, decode, encode

log = structlog.get_logger(__name__)

#: Seconds without a sign of the holder after which another copy takes over.
LEASE: Final = 6.0
#: Seconds between attempts while NATS does not answer.
_RETRY: Final = 0.25
#: Revision of an entry that does not exist, or was deleted; real ones count from 1.
_ABSENT: Final = 0


class Deposed(Exception):
    """Somebody else holds the seat."""


@dataclass(frozen=True)
class Writer:
    """A copy's name. `place` is a database that only one process can have open (chDB), or empty.

    Who holds such a place knows that the previous holder of the same place is gone, and need not wait.
    """

    name: str
    place: str = ""

    @property
    def label(self) -> str:
        """As it stands in the entry."""
        return f"{self.place}#{self.name}"

    def succeeds(self, holder: str) -> bool:
        """Whether nobody else can be at work under this name: it is our own, or of our place."""
        return holder == self.label or (bool(self.place) and holder.rpartition("#")[0] == self.place)


class Seat:
    """One stream's seat, as one copy sees it."""

    def __init__(
        self,
        bucket: KeyValue,
        stream: str,
        writer: Writer,
        *,
        lease: float = LEASE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writer = writer
        self.position = Position()
        self.lease = lease
        self._bucket = bucket
        self._key = stream
        self._clock = clock
        self._watch = Watch(lease)
        self._revision = 0
        self._moving = asyncio.Lock()

    async def take(self) -> bool:
        """Take the seat if it is vacant; when it is not, `position` is what its holder last wrote."""
        try:
            return await self._take()
        except (NatsError, Deposed) as error:
            log.debug("seat not taken", stream=self._key, reason=str(error) or type(error).__name__)
            return False

    async def move(self, step: Callable[[Position], Position]) -> Position:
        """Make one move, trying while NATS is away. Raises Deposed when somebody else has moved."""
        async with self._moving:
            wanted = step(self.position)
            while True:
                try:
                    return await self._write(wanted)
                except NatsError as error:
                    log.warning("position not written yet", stream=self._key, error=str(error) or type(error).__name__)
                    await asyncio.sleep(_RETRY)

    async def keep(self) -> None:
        """Renew for ever. Raises Deposed."""
        while True:
            await asyncio.sleep(self.lease / 3)
            await self.move(Position.renew)

    async def release(self) -> None:
        """Let another copy take over at once; if that cannot be told now, it waits for the lease."""
        try:
            async with self._moving:
                await self._write(self.position.release())
        except (NatsError, Deposed):
            return

    async def _take(self) -> bool:
        found = await self._read()
        if found is not None:
            self._revision, self.position = found
            if not self._vacant():
                return False
        await self._write((found[1] if found else Position()).take(self.writer.label))
        return True

    def _vacant(self) -> bool:
        vacant = self._watch.vacant(self._revision, self.position, self._clock())
        return vacant or self.writer.succeeds(self.position.writer)

    async def _read(self) -> tuple[int, Position] | None:
        """Revision and position; None when there is no entry, or none that can be read (then it counts as lost)."""
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            self._revision = _ABSENT
            return None
        revision = entry.revision or 0
        try:
            return revision, decode(entry.value or b"")
        except ValueError:
            log.error("the position cannot be read; looking for it in ClickHouse", stream=self._key)
            return revision, Position()

    async def _write(self, wanted: Position) -> Position:
        """Compare and set. Raises Deposed, or NatsError when the answer is not known: then the same may be repeated."""
        try:
            if self._revision == _ABSENT:
                self._revision = await self._bucket.create(self._key, encode(wanted))
            else:
                self._revision = await self._bucket.update(self._key, encode(wanted), last=self._revision)
        except KeyWrongLastSequenceError:
            found = await self._read()
            if found is None or found[1] != wanted:
                raise Deposed(found[1].writer if found else "nobody: the entry is gone") from None
            self._revision = found[0]  # it was ours: only the answer had been lost
        self.position = wanted
        return wanted
