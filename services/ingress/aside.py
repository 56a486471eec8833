"""Long work on content beside the event loop, so that one agent's large prompt does not stop the gateway for all (G10).

Detectors hold the interpreter's lock between scans: threads make them no faster, but let the loop have its turn.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Content up to this many bytes is worked on at once: it takes under a millisecond, some tens where it is all values.
LARGE = 16 * 1024
#: Two, so that one very long piece does not hold up all others that are large. Those that wait for a thread are no more
#: than the operations in flight, which are bounded (parts.Limiter).
WORKERS = 2
#: Seconds after which a thread lets the loop have its turn; Python's own 5 ms would be added to each wait of a request.
TURN = 0.0005

T = TypeVar("T")


class Aside:
    """A few threads for work that is pure: nothing of it may touch the event loop, or what another piece changes."""

    def __init__(self) -> None:
        sys.setswitchinterval(TURN)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="content")

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Do the work, in a thread when it is on more than LARGE bytes; whatever it raises is raised.

        When the caller is cancelled, work that has begun is waited for: it must not go on behind its caller's back.
        """
        if size <= LARGE:
            return work()
        job = self._pool.submit(work)
        done = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not job.cancel():
                await asyncio.wait([done])
            raise

    def close(self) -> None:
        """Take no more work; what has begun ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
