"""One at a time, and of those who wait the one that is first in the stream. Within one copy."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(order=True)
class _Waiting:
    sequence: int
    turn: asyncio.Future[None] = field(compare=False)


class Turns:
    """Hands out turns by the events' sequence numbers in the stream."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._taken = False

    @asynccontextmanager
    async def of(self, sequence: int) -> AsyncIterator[None]:
        """While inside, nobody else is."""
        await self._take(sequence)
        try:
            yield
        finally:
            self._give_back()

    async def give_way(self, sequence: int) -> None:
        """From inside: let those go first who are first in the stream and came later."""
        self._give_back()
        await self._take(sequence)

    async def _take(self, sequence: int) -> None:
        if not self._taken and not self._waiting:
            self._taken = True
            return
        mine = _Waiting(sequence, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, mine)
        if not self._taken:
            self._give_back()
        try:
            await mine.turn
        except asyncio.CancelledError:
            if mine.turn.done() and not mine.turn.cancelled():  # it was ours already
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._taken = False
        while self._waiting:
            following = heapq.heappop(self._waiting)
            if not following.turn.done():
                self._taken = True
                following.turn.set_result(None)
                return
