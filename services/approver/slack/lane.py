"""One lane per Slack channel: messages leave in the order they came, at the pace Slack allows.

Slack takes about one message a second per channel, with short bursts, and says with `Retry-After` when that was too
many (docs.slack.dev, "Rate limits"). While one message waits, those behind it wait, too: order is kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.approver.slack.limits import BURST, PACE
from services.approver.slack.web import RateLimited

T = TypeVar("T")

#: Times that one message is held up by a 429 in place; then it goes back to the bus, to come again later.
MAX_HELD = 3
#: Lanes remembered; idle ones are dropped beyond that. A workspace has a few channels of approvals.
MAX_LANES = 256


class Lane:
    """A queue of one; asyncio.Lock is fair, so whoever came first goes first."""

    def __init__(self, pace: float = PACE, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = asyncio.Lock()
        #: Held by whoever prepares the next new message: taken on arrival, so that reading and writing the bucket
        #: does not change who comes first, and what is posted is as things stand at that moment.
        self.turn = asyncio.Lock()
        self._pace, self._allowance, self._clock = pace, pace * (burst - 1), clock
        #: When the next message would be due if none had come early (a generic cell rate algorithm).
        self._due = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing waits here."""
        return not self._lock.locked() and not self.turn.locked()

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` when it is its turn. Raises what it raises; RateLimited only after MAX_HELD waits."""
        async with self._lock:
            for attempt in range(MAX_HELD + 1):
                await self._turn()
                try:
                    return await work()
                except RateLimited as limited:
                    self._due = self._clock() + limited.retry_after + self._allowance
                    if attempt == MAX_HELD:
                        raise
        raise AssertionError("unreachable")

    async def _turn(self) -> None:
        early = self._due - self._allowance - self._clock()
        if early > 0:
            await asyncio.sleep(early)
        self._due = max(self._due, self._clock()) + self._pace


class Lanes:
    """Lanes by channel."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def of(self, channel: str) -> Lane:
        """The lane of a channel, by the name that is written in settings and rules."""
        if channel not in self._lanes and len(self._lanes) >= MAX_LANES:
            self._lanes = {name: lane for name, lane in self._lanes.items() if not lane.idle}
        return self._lanes.setdefault(channel, Lane())
