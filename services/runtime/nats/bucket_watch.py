"""A watch of a key-value bucket that says reliably when everything that was there has been seen.

nats-py puts its marker first, before the entries, where the server has sent them all and the client has handled none
yet: who trusts it takes a full bucket for an empty one. Here the consumer's counts decide whether there is anything to
wait for, and each entry's count of those behind it when the last has come.
"""

from nats.js.kv import KeyValue


class WatchStopped(Exception):
    """`stop` was called while somebody waited."""


class BucketWatch:
    """One watch; a reconnect may lose it without a word, so the owner looks and opens another."""

    def __init__(self, watcher: KeyValue.KeyWatcher, expected: int) -> None:
        """`expected`: messages delivered or waiting for this watch when it was opened; 0 for nothing there."""
        self._watcher = watcher
        self._expected = expected
        self._entries = 0
        self._told = False
        self._due = False

    @classmethod
    async def open(cls, bucket: KeyValue, keys: str = ">", *, include_history: bool = False) -> "BucketWatch":
        """Watch `keys`, a subject pattern; with history, each key's kept revisions come oldest first.

        Raises nats.errors.Error and nats.js.errors.Error.
        """
        watcher = await bucket.watch(keys, include_history=include_history)
        try:
            info = await watcher._sub.consumer_info()  # type: ignore[union-attr]
        except BaseException:
            await watcher.stop()  # type: ignore[no-untyped-call]
            raise
        return cls(watcher, (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0))

    async def next(self, timeout: float) -> KeyValue.Entry | None:
        """The next revision; None exactly once, after all that was there at the start.

        Raises nats.errors.TimeoutError after `timeout` seconds without one, and WatchStopped.
        """
        while not self._due:
            update = await self._watcher.updates(timeout=timeout)  # type: ignore[no-untyped-call]
            if update is None:
                # Before any entry, and where there are entries, it came too early.
                self._due = not self._told and (self._entries > 0 or self._expected == 0)
                continue
            if not isinstance(update, KeyValue.Entry):
                raise WatchStopped
            self._entries += 1
            self._due = not self._told and update.delta == 0
            return update
        self._told, self._due = True, False
        return None

    async def stop(self) -> None:
        """End it; who waits gets WatchStopped."""
        await self._watcher.stop()  # type: ignore[no-untyped-call]
