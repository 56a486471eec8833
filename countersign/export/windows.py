"""A time range in pieces that grow and shrink with what they hold. Pure.

An endpoint answers so many rows or bytes at once (services/recorder/reader_settings.py) and says so when it is asked
for more. Then the piece is halved; while pieces are small, the next one is longer.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

#: The first piece, and the shortest: moments are recorded in milliseconds.
FIRST: Final = timedelta(hours=1)
SHORTEST: Final = timedelta(milliseconds=1)
#: Bytes of an answer below which the next piece is twice as long.
FEW: Final = 8 * 1024 * 1024


class TooMuch(Exception):
    """One millisecond holds more than the endpoint answers at once."""


class Windows:
    """Pieces of `since <= moment < until`, in order. Tell each one's fate before asking for the next."""

    def __init__(self, since: datetime, until: datetime, length: timedelta = FIRST) -> None:
        self._at, self._until, self._length = since, until, length

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        while self._at < self._until:
            yield self._at, self._end

    def answered(self, size: int) -> None:
        """The piece at hand is done, in so many bytes; go on behind it."""
        self._at = self._end
        if size < FEW:
            self._length = min(2 * self._length, timedelta(days=3650))

    def refused(self) -> None:
        """It was too much: the same beginning, half the length. Raises TooMuch."""
        length = min(self._length, self._until - self._at)
        if length <= SHORTEST:
            raise TooMuch(f"one millisecond at {self._at.isoformat()} holds more than one answer may")
        self._length = max(SHORTEST, _whole(length / 2))

    @property
    def _end(self) -> datetime:
        return min(self._at + self._length, self._until)


def _whole(length: timedelta) -> timedelta:
    """In whole milliseconds."""
    return timedelta(milliseconds=length // SHORTEST)
