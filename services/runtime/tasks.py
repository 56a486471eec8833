"""The only home of `asyncio.create_task`: a task has a name, is kept alive by its group, and its error is reported.

An unexpected error in a background task is never swallowed: it is logged with its name, and given to the group's
`on_error`, which for a service means to stop (habits 6, 7 and 11 of our style).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

#: Seconds until a task that has not ended is cancelled again.
_CANCEL_AGAIN = 0.5

log = structlog.get_logger(__name__)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended, again if need be.

    Python 3.11's `asyncio.wait_for` loses a cancellation that meets its result (fixed in 3.12), and nats-py waits for
    every reply with it: a task that is cancelled once may go on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN)


def heed_cancellation() -> None:
    """Raise CancelledError where this task was cancelled and the cancellation was lost (see `end`).

    For loops around calls of nats-py whose task is cancelled once only, by aiohttp or by a timeout.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class TaskGroup:
    """Background tasks of one owner. Unlike asyncio's, it outlives a `with` block and survives a member's error."""

    def __init__(self, owner: str, on_error: Callable[[BaseException], None] | None = None) -> None:
        self._owner = owner
        self._on_error = on_error
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a coroutine in the background."""
        task = asyncio.create_task(work, name=f"{self._owner}:{name}")  # noqa: TID251 - the one place
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel what still runs and wait for it to end."""
        await end(*(task for task in self._tasks if task is not asyncio.current_task()))

    async def drain(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for all to end by themselves; True when they did."""
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(set(self._tasks), timeout=timeout)
        return not pending

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("background task failed", task=task.get_name(), exc_info=error)
        if self._on_error:
            self._on_error(error)
