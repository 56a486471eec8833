"""Sends one receiver what is recorded, again until it is taken. Never in the way of recording: a task of its own, on a
connection of its own to ClickHouse, that only ever reads.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from nats.errors import Error as NatsError

from services.recorder.clickhouse import Store
from services.recorder.delivery.messages import Format, Message, message
from services.recorder.delivery.metrics import DeliveryMetrics
from services.recorder.delivery.place import Bookmark, Moved, Place
from services.recorder.delivery.reading import Batch, behind
from services.recorder.delivery.refusal import NotTaken
from services.recorder.store_errors import StoreError

log = structlog.get_logger(__name__)

#: Seconds between two looks for something new.
IDLE: Final = 1.0
#: Seconds after the first refusal, doubled each time up to the last; a quarter of it is chance, so that the copies of
#: a fleet do not come back together.
FIRST_WAIT, LAST_WAIT = 1.0, 60.0
_CHANCE: Final = 0.25
#: Batches that are sent again when a connection without acknowledgements breaks: what the network may have swallowed
#: until we were told. More would only be more duplicates.
RESENT: Final = 8


class Receiver(Protocol):
    """A webhook or a syslog server."""

    async def send(self, identifier: str, messages: Sequence[Message]) -> None:
        """Returns when the batch is taken. Raises NotTaken."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...


class Deliverer:
    """One receiver's."""

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        *,
        store: Store,
        bookmark: Bookmark,
        stored: Callable[[], Place],
        metrics: DeliveryMetrics,
        format_: Format = "ocsf",
        from_beginning: bool = False,
        batch: int = 200,
        largest: int = 64 * 1024,
        idle: float = IDLE,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        """`stored` is how far the stream is in ClickHouse for good; there a new receiver begins, or at the start."""
        self._name, self._receiver, self._store, self._bookmark = name, receiver, store, bookmark
        self._stored, self._metrics, self._format, self._from_beginning = stored, metrics, format_, from_beginning
        self._batch, self._largest, self._idle, self._first_wait = batch, largest, idle, first_wait
        self._limit = batch
        self._refusals = 0
        #: Where the last batches began: a connection that breaks may have lost them.
        self._recent: deque[Place] = deque(maxlen=RESENT)

    async def run(self, writing: Callable[[], bool]) -> None:
        """Deliver while this copy records."""
        try:
            while True:
                wait = await self._step() if writing() else self._rest()
                await asyncio.sleep(wait)
        finally:
            await self._receiver.close()

    def _rest(self) -> float:
        """Another copy records: whatever we knew of the place may be old when it is our turn."""
        self._bookmark.place = None
        self._recent.clear()
        return self._idle

    async def _step(self) -> float:
        """One batch, if there is one; answers how many seconds to wait before the next."""
        try:
            return await self._deliver()
        except Moved:
            return self._rest()
        except (StoreError, NatsError, OSError, ValueError) as error:
            log.warning("cannot deliver now", receiver=self._name, error=str(error) or type(error).__name__)
            self._bookmark.place = None
            return self._later(None)

    async def _deliver(self) -> float:
        stored = self._stored()
        if not stored.epoch:
            return self._idle  # nothing was recorded since this copy began
        place = self._bookmark.place
        if place is None:
            place = await self._bookmark.load(Place() if self._from_beginning else stored)
        batch = await behind(self._store, place, stored, self._limit)
        if batch is None:
            self._metrics.lag_seconds.labels(self._name).set(0)
            return self._idle
        self._metrics.lag_seconds.labels(self._name).set(max(0.0, time.time() - batch.published_us / 1_000_000))
        try:
            await self._receiver.send(_identifier(self._name, batch), self._messages(batch))
        except NotTaken as error:
            return await self._refused(error, place)
        self._refusals, self._limit = 0, min(self._batch, self._limit * 2)
        self._recent.append(place)
        await self._bookmark.move(batch.last)
        self._metrics.operations.labels(self._name).inc(len(batch.rows))
        return 0.0

    async def _refused(self, error: NotTaken, place: Place) -> float:
        self._metrics.refused.labels(self._name).inc()
        log.warning("not delivered yet", receiver=self._name, reason=str(error), behind=str(place))
        if error.too_large and self._limit > 1:
            self._limit //= 2
            return 0.0
        if error.lost and self._recent:
            await self._bookmark.move(self._recent[0])
            self._recent.clear()
        return self._later(error.wait)

    def _later(self, asked: float | None) -> float:
        wait = min(LAST_WAIT, self._first_wait * 2 ** min(self._refusals, 16))
        self._refusals += 1
        return asked if asked is not None else wait * (1 - _CHANCE * random.random())  # noqa: S311 - no secret

    def _messages(self, batch: Batch) -> list[Message]:
        return [message(row, self._format, self._largest) for row in batch.rows]


def _identifier(name: str, batch: Batch) -> str:
    """Names a batch: sent again, it has the same name if it has the same operations."""
    return f"{name}-{batch.first.epoch}-{batch.first.seq}-{batch.last.epoch}-{batch.last.seq}"
