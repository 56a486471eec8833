"""What is open, or settled and not yet announced: kept in memory from a watch on the `approvals` bucket.

Only what the sweeper, the list and the metrics need of each; the entry in the bucket is the truth, and is read again
before anything is decided. A watch does not survive a reconnect reliably, so each reconnect starts a new one.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue
from pydantic import ValidationError

from schemas.events import ApprovalState
from services.approver.record import Held
from services.approver.store import BUS_ERRORS

log = structlog.get_logger(__name__)

#: Seconds without an update after which we look whether the connection is still the one we watch on.
LOOK = 1.0
#: Seconds before a failed watch is started again.
RETRY = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """One approval that still needs something."""

    approval_id: str
    state: ApprovalState
    open: bool
    #: `issuer#subject` of whoever asked, the connector, and the groups that are asked.
    requester: str
    connector: str
    groups: frozenset[str]
    ingress: str
    requested_at: datetime
    expires_at: datetime
    resolved_at: datetime
    #: Seconds from `requested_at` that the caller waits on its connection.
    wait_seconds: float


class Watching:
    """The entries of all approvals that are open or not announced. `run` keeps them current."""

    def __init__(self, client: Client, bucket: KeyValue) -> None:
        self._client = client
        self._bucket = bucket
        self._entries: dict[str, Entry] = {}
        #: True while the entries are those of the bucket.
        self.current = False

    def entries(self) -> list[Entry]:
        """All of them, the oldest request first."""
        return sorted(self._entries.values(), key=lambda entry: entry.requested_at)

    @property
    def generation(self) -> int:
        """Changes whenever the connection was lost in between."""
        return self._client.stats["reconnects"]

    async def run(self) -> None:
        """Watch, forever."""
        while True:
            try:
                await self._follow()
            except BUS_ERRORS as error:
                log.warning("watch on approvals lost", error=str(error) or type(error).__name__)
            self.current = False
            await asyncio.sleep(RETRY)

    async def _follow(self) -> None:
        generation = self.generation
        watcher = await self._bucket.watchall()
        found: dict[str, Entry] = {}
        try:
            while generation == self.generation:
                try:
                    update = await watcher.updates(timeout=LOOK)  # type: ignore[no-untyped-call]
                except NatsTimeoutError:
                    continue
                if update is None:  # everything that was there has been seen
                    self._entries, self.current = found, True
                else:
                    _note(found, update)
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]


def _note(entries: dict[str, Entry], update: KeyValue.Entry) -> None:
    if update.operation in (KV_DEL, KV_PURGE):
        entries.pop(update.key, None)
        return
    try:
        record = Held.model_validate_json(update.value or b"")
    except ValidationError:
        log.error("an entry in the approvals bucket is malformed", approval_id=update.key)
        return
    if record.announced and not record.open:
        entries.pop(update.key, None)
    else:
        entries[update.key] = entry_of(record)


def entry_of(record: Held) -> Entry:
    request = record.request
    return Entry(
        approval_id=record.approval_id,
        state=record.state,
        open=record.open,
        requester=request.identity.key,
        connector=request.connector.name,
        groups=frozenset(group for requirement in request.terms.requirements for group in requirement.by),
        ingress=request.ingress,
        requested_at=request.at,
        expires_at=request.terms.expires_at,
        resolved_at=record.resolved_at,
        wait_seconds=request.asked.wait_seconds,
    )
