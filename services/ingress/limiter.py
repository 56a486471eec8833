"""How much one ingress has under way (G10): operations that run, and apart from them those that wait for people.

Whoever waits for a person takes no place from those who run, and one identity's questions none from another's.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from schemas.events import Outcome
from services.ingress.errors import GatewayError, not_decided


class TooManyHeld(GatewayError):
    """No place to wait for people."""


@dataclass
class Limiter:
    """Places of one process. Beyond `limit` new operations are told to come back; `held` and `held_each` refuse."""

    limit: int
    #: Operations that may wait for people: in all, and of one identity.
    held: int
    held_each: int
    in_flight: int = 0
    _waiting: Counter[str] = field(default_factory=Counter)

    @property
    def waiting(self) -> int:
        """Operations that wait for people."""
        return self._waiting.total()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take one place for the duration."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def check(self) -> None:
        """Raise NotDecided when there are too many."""
        if self.in_flight > self.limit:
            raise not_decided("the gateway has too many operations in flight")

    @contextmanager
    def waiting_for_people(self, identity: str) -> Iterator[None]:
        """Give the place of a `slot` back while people decide. Raises TooManyHeld."""
        if self.waiting >= self.held:
            raise _too_many(503, "too many operations wait for people at this gateway")
        if self._waiting[identity] >= self.held_each:
            raise _too_many(429, f"{self.held_each} of your operations wait for people already")
        self._waiting[identity] += 1
        self.in_flight -= 1
        try:
            yield
        finally:
            self.in_flight += 1
            self._waiting[identity] -= 1
            if not self._waiting[identity]:
                del self._waiting[identity]


def _too_many(status: int, detail: str) -> TooManyHeld:
    return TooManyHeld(status, "too_many_held", detail, Outcome.DENIED, headers={"Retry-After": "60"})
