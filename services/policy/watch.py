"""Follow one key-value bucket for as long as the service lives, and know how far the copy in memory can be trusted.

NATS forgets a watch's consumer when it restarts, and may do so without a word. So every second without news the
bucket is asked for its last sequence number: equal to the last one seen, nothing was missed; else all is read again.
Counterpart: `store.py` says what the entries mean.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue

from services.runtime.nats.bucket_watch import BucketWatch, WatchStopped

log = structlog.get_logger(__name__)

#: Seconds between two questions whether something was missed, and before a broken watch is opened again.
CHECK_EVERY = 1.0
#: Seconds one answer of JetStream may take.
ANSWER_WITHIN = 2.0
#: Seconds without confirmation after which the copy is no longer trusted.
TRUST = 15.0

_BROKEN = (nats.errors.Error, JetStreamError, OSError, TimeoutError)


@dataclass(frozen=True)
class Entry:
    """One revision of a key; `value` None says it was deleted."""

    key: str
    value: bytes | None


class _Missed(Exception):
    """The bucket went on without us."""


class Watch:
    """The bucket's content: `replaced` gets all of it whenever it was read again, `changed` each later revision."""

    def __init__(
        self,
        client: Client,
        bucket: str,
        *,
        replaced: Callable[[list[Entry]], None],
        changed: Callable[[Entry], None],
        history: bool = False,
    ) -> None:
        self._jetstream = client.jetstream(timeout=ANSWER_WITHIN)
        self._bucket = bucket
        self._replaced, self._changed, self._history = replaced, changed, history
        self._confirmed: float | None = None
        #: False from the first failure until the copy is confirmed again: an outage is one log line.
        self._healthy = True
        self._again = asyncio.Event()
        self._watcher: BucketWatch | None = None
        self.read = asyncio.Event()

    @property
    def trusted(self) -> bool:
        """Whether the copy was as new as the bucket within the last `TRUST` seconds."""
        return self._confirmed is not None and time.monotonic() - self._confirmed < TRUST

    async def run(self) -> None:
        """Follow until cancelled; an outage is logged once and waited out."""
        while True:
            self._again.clear()
            try:
                await self._follow()
            except (_Missed, WatchStopped):
                log.info("the bucket moved on; reading it again", bucket=self._bucket)
            except _BROKEN as error:
                if self._healthy:
                    log.warning("bucket not followed", bucket=self._bucket, error=str(error) or type(error).__name__)
                self._healthy = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY):
                        await self._again.wait()

    async def reread(self) -> None:
        """The connection was lost and is back: read everything again now."""
        self._again.set()
        if self._watcher is not None:
            with suppress(*_BROKEN):
                await self._watcher.stop()

    async def _follow(self) -> None:
        """One watch, from reading all to the moment it has to be opened again."""
        bucket = await self._jetstream.key_value(self._bucket)
        seen = await self._last(bucket)
        watcher = await BucketWatch.open(bucket, include_history=self._history)
        self._watcher = watcher
        try:
            entries, newest = await _read_all(watcher)
            self._replaced(entries)
            self._confirm()
            self.read.set()
            await self._updates(bucket, watcher, max(seen, newest))
        finally:
            self._watcher = None
            with suppress(*_BROKEN):
                await watcher.stop()

    async def _updates(self, bucket: KeyValue, watcher: BucketWatch, seen: int) -> None:
        behind = False
        while not self._again.is_set():
            try:
                update = await watcher.next(CHECK_EVERY)
            except nats.errors.TimeoutError:
                # What was written a moment ago may still be under way: it is missed when it is not there next time.
                last = await self._last(bucket)
                if last != seen and behind:
                    raise _Missed from None
                behind = last != seen
                if not behind:
                    self._confirm()
                continue
            if update is not None:
                seen, behind = update.revision or seen, False
                self._changed(_entry(update))
                if not update.delta:
                    self._confirm()

    async def _last(self, bucket: KeyValue) -> int:
        status = await bucket.status()
        return status.stream_info.state.last_seq

    def _confirm(self) -> None:
        self._confirmed, self._healthy = time.monotonic(), True


async def _read_all(watcher: BucketWatch) -> tuple[list[Entry], int]:
    """All that the bucket holds, oldest first, and the newest revision among it."""
    entries, newest = [], 0
    while (update := await watcher.next(ANSWER_WITHIN)) is not None:
        entries.append(_entry(update))
        newest = max(newest, update.revision or 0)
    return entries, newest


def _entry(update: KeyValue.Entry) -> Entry:
    return Entry(update.key, None if update.operation else update.value or b"")
