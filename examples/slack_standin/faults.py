"""What can go wrong at Slack, armed by a test and used up by the calls that meet it."""

from dataclasses import dataclass, field
from typing import Literal

Outage = Literal["503", "refused"]


@dataclass(slots=True)
class _Armed:
    """The next `left` calls of `method` (None: of any)."""

    left: int = 0
    method: str | None = None
    retry_after: int = 1

    def take(self, method: str) -> bool:
        if self.left < 1 or self.method not in (None, method):
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Faults:
    """Set by the methods of SlackStandin of the same names."""

    outage: Outage | None = None
    rate_limit: _Armed = field(default_factory=_Armed)
    server_error: _Armed = field(default_factory=_Armed)
    lost_answer: _Armed = field(default_factory=_Armed)
    forged_signature: _Armed = field(default_factory=_Armed)

    def rate_limit_next(self, calls: int = 1, *, retry_after: int = 1, method: str | None = None) -> None:
        """429 with `Retry-After: retry_after`; nothing is done."""
        self.rate_limit = _Armed(calls, method, retry_after)

    def fail_next(self, calls: int = 1, *, method: str | None = None) -> None:
        """500 `internal_error`; nothing is done."""
        self.server_error = _Armed(calls, method)

    def lose_answers(self, calls: int = 1, *, method: str | None = None) -> None:
        """The call is carried out, then the connection breaks: the case in which a retry posts twice."""
        self.lost_answer = _Armed(calls, method)

    def forge_signatures(self, posts: int = 1) -> None:
        """The next signed POSTs carry a signature made with another secret."""
        self.forged_signature = _Armed(posts)

    def clear(self) -> None:
        self.outage = None
        self.rate_limit, self.server_error = _Armed(), _Armed()
        self.lost_answer, self.forged_signature = _Armed(), _Armed()
