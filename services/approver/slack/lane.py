"""The pace of messages: how long each kind has to wait, so that Slack never has to say no.

One message a second to a channel with short bursts, several hundred a minute to a workspace, 50 changes a minute
(docs.slack.dev, "Rate limits"). When Slack says 429 all the same, `hold` keeps that kind back for as long as it asks.
One copy at a time serves a channel (`lease`), so that the pace of one is the pace of all.
"""

import time
from collections.abc import Callable

from services.approver.slack.limits import BURST, UPDATES, UPDATES_BURST, WORKSPACE, WORKSPACE_BURST

#: Channels remembered; those that owe nothing are dropped beyond that. A workspace has few that approve.
MAX_CHANNELS = 1024


class Pace:
    """A generic cell rate algorithm: one every `period` seconds, `burst` at once after a quiet spell."""

    def __init__(self, period: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._period, self._allowance, self._clock = period, period * (burst - 1), clock
        #: When the next would be due if none had come early.
        self._due = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next may go; 0 for now."""
        return max(self._due - self._allowance - self._clock(), 0.0)

    def take(self) -> None:
        """One goes now."""
        self._due = max(self._due, self._clock()) + self._period

    def hold(self, seconds: float) -> None:
        """None goes for so long, and then no burst."""
        self._due = max(self._due, self._clock() + seconds + self._allowance)


class Paces:
    """What each call has to wait for. `second` is Slack's, in seconds: one message to a channel in each."""

    def __init__(self, second: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._second, self._clock = second, clock
        self._workspace = Pace(WORKSPACE * second, WORKSPACE_BURST, clock)
        self._updates = Pace(UPDATES * second, UPDATES_BURST, clock)
        self._channels: dict[str, Pace] = {}

    def post(self, channel: str) -> list[Pace]:
        """Of a new message."""
        if channel not in self._channels and len(self._channels) >= MAX_CHANNELS:
            self._channels = {name: pace for name, pace in self._channels.items() if pace.wait}
        pace = self._channels.setdefault(channel, Pace(self._second, BURST, self._clock))
        return [pace, self._workspace]

    def update(self) -> list[Pace]:
        """Of a change to one that is there."""
        return [self._updates]


def wait(paces: list[Pace]) -> float:
    """Seconds until all of them let one go."""
    return max(pace.wait for pace in paces)
