"""Requests turned away before there was anything to judge: recorded, but never at a stranger's pace (G10).

A token bucket limits how many are recorded a second, and none is while the outbox is full; the next recorded one says
how many were not. A session is recorded with its first refusal that is, or once its agent is known.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.events import Outcome, Refusal
from schemas.identity import Identity
from services.ingress.errors import GatewayError
from services.ingress.metrics import Metrics
from services.ingress.story import Session, Story


@dataclass
class Refusals:
    """The recorder of refusals of one ingress."""

    per_second: int
    metrics: Metrics
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _filled: float = field(init=False)
    _suppressed: int = 0

    def __post_init__(self) -> None:
        self._tokens, self._filled = float(self.per_second), self.clock()

    def record(
        self,
        session: Session,
        error: GatewayError,
        *,
        connector: str = "",
        action: str = "",
        statement: str = "",
        identity: Identity | None = None,
        story: Story | None = None,
    ) -> None:
        """Record one, or count it when there are too many."""
        self.metrics.refusals.labels(error.code).inc()
        if session.emitter.full or not self._take():
            self._suppressed += 1
            return
        refusal = Refusal(
            code=error.code,
            connector=connector,
            action=action,
            statement=statement,
            peer=session.peer,
            suppressed=self._suppressed,
            identity=identity,
        )
        self._suppressed = 0
        session.open()
        told = story or Story(session, connector or "-")
        told.finish(Outcome.DENIED, status=str(error.status), error=error.detail, refusal=refusal)

    def _take(self) -> bool:
        now = self.clock()
        self._tokens = min(float(self.per_second), self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
