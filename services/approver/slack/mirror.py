"""A bucket in memory, with the revision of each entry and word of each change: what `ledger` looks at.

The bucket's stream has one order, and a mirror sees it in that order: once it has seen a revision, it holds everything
that was written before. Counterpart of `following`, which keeps less. A watch does not survive a reconnect reliably, so
each reconnect starts a new one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue
from pydantic import ValidationError

from services.approver.following import LOOK, RETRY
from services.approver.store import BUS_ERRORS
from services.runtime.nats.bucket_watch import BucketWatch

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """An entry as it was last seen."""

    revision: int
    value: T
    #: When this revision was first seen here (monotonic seconds).
    since: float


class Mirror(Generic[T]):
    """Entries by key. `read` makes None of what is not kept, and raises pydantic's ValidationError for nonsense."""

    def __init__(
        self,
        client: Client,
        bucket: KeyValue,
        keys: str,
        read: Callable[[str, bytes], T | None],
        changed: Callable[[str, Seen[T] | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._bucket, self._keys = client, bucket, keys
        self._read, self._changed, self._clock = read, changed, clock
        self.entries: dict[str, Seen[T]] = {}
        #: The newest revision of the bucket that was seen.
        self.revision = 0
        #: True while the entries are those of the bucket.
        self.current = False
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Watch, forever."""
        while True:
            try:
                await self._follow()
            except BUS_ERRORS as error:
                log.warning("watch lost", keys=self._keys, error=str(error) or type(error).__name__)
            self.current = False
            await asyncio.sleep(RETRY)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something holds that is looked at after each change."""
        while not done():
            self._moved.clear()
            await self._moved.wait()

    def wrote(self, key: str, revision: int, value: T) -> None:
        """Take over what we wrote ourselves, before the watch brings it back."""
        self._put(key, revision, value)

    async def _follow(self) -> None:
        generation = self._client.stats["reconnects"]
        began = self._clock()  # what we write from now on may come after the end of what was there
        watcher = await BucketWatch.open(self._bucket, self._keys)
        there: set[str] = set()
        try:
            while generation == self._client.stats["reconnects"]:
                try:
                    update = await watcher.next(LOOK)
                except NatsTimeoutError:
                    continue
                if update is None:  # everything that was there has been seen
                    for key in [key for key, seen in self.entries.items() if key not in there and seen.since < began]:
                        self._drop(key)
                    self.current = True
                    self._moved.set()
                else:
                    there.add(update.key)
                    self._note(update)
        finally:
            await watcher.stop()

    def _note(self, update: KeyValue.Entry) -> None:
        revision = update.revision or 0
        self.revision = max(self.revision, revision)
        self._moved.set()
        known = self.entries.get(update.key)
        if known is not None and known.revision >= revision:
            return
        value: T | None = None
        if update.operation not in (KV_DEL, KV_PURGE):
            try:
                value = self._read(update.key, update.value or b"")
            except ValidationError:
                log.error("an entry is malformed", bucket=update.bucket, key=update.key)
                return
        if value is None:
            self._drop(update.key)
        else:
            self._put(update.key, revision, value)

    def _put(self, key: str, revision: int, value: T) -> None:
        seen = Seen(revision, value, self._clock())
        self.entries[key] = seen
        self._changed(key, seen)

    def _drop(self, key: str) -> None:
        if self.entries.pop(key, None) is not None:
            self._changed(key, None)
