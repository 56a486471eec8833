"""What runs under a time-boxed grant ends with it: at its expiry, or when somebody revokes it.

A grant is checked when an operation starts (`countersigned`); a WebSocket, a streamed reply or a COPY may go on for
hours. `under` cancels what is inside it the moment the window is over, and raises Denied in its place. A revocation is
the deletion of the grant's entry: heard at once on the bucket's subject, and looked for every few seconds in case that
message was lost. A grant that cannot be looked up for a while is treated as over (G1).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.approvals import Grant
from schemas.events import Outcome
from services.ingress.errors import Denied, denied

log = structlog.get_logger(__name__)

#: Seconds between two looks at the grants that something runs under.
LOOK = 2.0
#: Seconds without an answer about a grant after which it no longer counts.
PATIENCE = 15.0
#: The headers by which JetStream's key-value buckets mark a deletion (ADR-8).
_OPERATION, _GONE = "KV-Operation", ("DEL", "PURGE")
_BUS_ERRORS = (NatsError, OSError, TimeoutError)


@dataclass(eq=False)
class _Scope:
    """One operation that runs under a grant."""

    timeout: asyncio.Timeout
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)
    why: str = "its window is over"

    def end(self, why: str) -> None:
        """Cancel what runs; `why` goes into the refusal."""
        if not self.timeout.expired():
            self.why = why
            self.timeout.reschedule(asyncio.get_running_loop().time())

    def insist(self) -> None:
        """Cancel again what goes on: Python 3.11's `wait_for` may have lost the first one (`runtime.tasks.end`)."""
        if self.task and self.timeout.expired():
            self.task.uncancel()  # one cancellation is the timeout's own; it would take two for somebody else's
            self.task.cancel()


@dataclass
class _Watched:
    """A grant with something running under it."""

    scopes: set[_Scope] = field(default_factory=set)
    confirmed: float = 0


class Lasting:
    """The operations of this process that run under a grant."""

    def __init__(
        self,
        client: Client,
        grants: KeyValue,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._grants, self._clock, self._monotonic = client, grants, clock, monotonic
        self._watched: dict[str, _Watched] = {}

    async def start(self) -> None:
        """Hear revocations."""
        await self._client.subscribe(subjects.GRANTS_CHANGED, cb=self._on_change)

    async def run(self) -> None:
        """Look at each grant in use, forever."""
        while True:
            over = [scope for watched in self._watched.values() for scope in watched.scopes if scope.timeout.expired()]
            for grant_id in list(self._watched):
                await self._look(grant_id)
            await asyncio.sleep(LOOK)
            self._insist(over)

    @asynccontextmanager
    async def under(self, grant: Grant | None) -> AsyncIterator[None]:
        """What is inside ends with the grant. Raises Denied (`grant_ended`) then; without a grant it is a no-op."""
        if grant is None:
            yield
            return
        left = (grant.expires_at - self._clock()).total_seconds()
        scope = _Scope(asyncio.timeout(max(left, 0)))
        watched = self._watched.setdefault(grant.grant_id, _Watched(confirmed=self._monotonic()))
        watched.scopes.add(scope)
        try:
            async with scope.timeout:
                yield
        except TimeoutError:
            if not scope.timeout.expired():
                raise
            raise _ended(grant, scope.why) from None
        finally:
            watched.scopes.discard(scope)
            if not watched.scopes and self._watched.get(grant.grant_id) is watched:
                del self._watched[grant.grant_id]

    async def _on_change(self, message: Msg) -> None:
        if (message.headers or {}).get(_OPERATION) in _GONE:
            self._end(message.subject.rpartition(".")[2], "it was revoked")

    async def _look(self, grant_id: str) -> None:
        try:
            await self._grants.get(grant_id)
        except KeyNotFoundError:
            self._end(grant_id, "it was revoked")
        except _BUS_ERRORS as error:
            log.warning("grant not confirmed", grant_id=grant_id, error=str(error) or type(error).__name__)
            self._doubt(grant_id)
        else:
            if watched := self._watched.get(grant_id):
                watched.confirmed = self._monotonic()

    def _doubt(self, grant_id: str) -> None:
        watched = self._watched.get(grant_id)
        if watched and self._monotonic() - watched.confirmed > PATIENCE:
            self._end(grant_id, "whether it still counts cannot be found out")

    def _insist(self, scopes: list[_Scope]) -> None:
        """What had to end a while ago and still runs."""
        running = {scope for watched in self._watched.values() for scope in watched.scopes}
        for scope in running.intersection(scopes):
            scope.insist()

    def _end(self, grant_id: str, why: str) -> None:
        watched = self._watched.get(grant_id)
        for scope in set(watched.scopes) if watched else ():
            scope.end(why)


def _ended(grant: Grant, why: str) -> Denied:
    """What was under way may have reached the upstream: it is recorded as failed, not as denied."""
    error = denied(f"the grant ended while this ran: {why}", (grant.rule,), code="grant_ended")
    error.outcome = Outcome.FAILED
    return error
