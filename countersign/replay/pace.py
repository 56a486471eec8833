"""How long to wait between two moments: in original time, faster, or not at all; long silences are cut. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

#: Seconds of silence that are waited out; an agent may think for minutes, a person may sleep over an approval.
IDLE: Final = 2.0


@dataclass(frozen=True)
class Pace:
    """`speed` times as fast, None for without waiting; silences are at most `idle` seconds, at speed 1."""

    speed: float | None = 1.0
    idle: float = IDLE

    def waits(self, moments: Iterable[float]) -> Iterator[float]:
        """Seconds to wait before each of these moments (seconds, rising; one that falls back costs nothing)."""
        before: float | None = None
        for moment in moments:
            gap = 0.0 if before is None else max(0.0, moment - before)
            before = moment if before is None else max(before, moment)
            yield 0.0 if self.speed is None else min(gap, self.idle) / self.speed


def shortened(moments: Iterable[float], idle: float = IDLE) -> list[float]:
    """The same moments on a clock that skips silences beyond `idle` seconds; the first is at 0."""
    clock, found = 0.0, []
    for wait in Pace(1.0, idle).waits(moments):
        clock += wait
        found.append(round(clock, 3))
    return found
