"""A bucket's entries in memory, kept up to date by a watch: what the lists, the sweeper and the metrics read.

The entry in the bucket is the truth, and is read again before anything is decided. A watch does not survive a
reconnect reliably, so each reconnect starts a new one.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue
from pydantic import ValidationError

from services.approver.store import BUS_ERRORS
from services.runtime.nats.bucket_watch import BucketWatch

log = structlog.get_logger(__name__)

#: Seconds without an update after which we look whether the connection is still the one we watch on.
LOOK = 1.0
#: Seconds before a failed watch is started again.
RETRY = 0.5

T = TypeVar("T")


class Following(Generic[T]):
    """What `read` makes of each value, by key; a value it makes None of is left out. `run` keeps it current."""

    def __init__(self, client: Client, bucket: KeyValue, read: Callable[[str, bytes], T | None]) -> None:
        """`read(key, value)` raises pydantic's ValidationError for what is malformed: logged, and left as it was."""
        self._client = client
        self._bucket = bucket
        self._read = read
        self.found: dict[str, T] = {}
        #: True while `found` is what the bucket holds.
        self.current = False

    @property
    def generation(self) -> int:
        """Changes whenever the connection was lost in between."""
        return self._client.stats["reconnects"]

    async def run(self) -> None:
        """Watch, forever."""
        while True:
            try:
                await self._follow()
            except BUS_ERRORS as error:
                log.warning("watch lost", bucket=self._bucket._name, error=str(error) or type(error).__name__)
            self.current = False
            await asyncio.sleep(RETRY)

    async def _follow(self) -> None:
        generation = self.generation
        watcher = await BucketWatch.open(self._bucket)
        found: dict[str, T] = {}
        try:
            while generation == self.generation:
                try:
                    update = await watcher.next(LOOK)
                except NatsTimeoutError:
                    continue
                if update is None:  # everything that was there has been seen
                    self.found, self.current = found, True
                else:
                    self._note(found, update)
        finally:
            await watcher.stop()

    def _note(self, found: dict[str, T], update: KeyValue.Entry) -> None:
        entry: T | None = None
        if update.operation not in (KV_DEL, KV_PURGE):
            try:
                entry = self._read(update.key, update.value or b"")
            except ValidationError:
                log.error("an entry is malformed", bucket=update.bucket, key=update.key)
                return
        if entry is None:
            found.pop(update.key, None)
        else:
            found[update.key] = entry
