"""Makes good what time or a crash left: expires, reminds, escalates, speaks for dead ingresses, announces, tells.

Runs in every copy. Each step is a compare-and-set or a publish that is deduplicated, so that copies which sweep at
once do no harm.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from services.approver.announcer import Announcer
from services.approver.desk import Desk
from services.approver.granted import Granted
from services.approver.notifier import Notifier, busy
from services.approver.pending import Escalate, Expire, Remind, Withdraw
from services.approver.store import BUS_ERRORS, StoreUnavailable
from services.approver.watching import Entry, Watching
from services.runtime.nats.provision import INGRESS_TTL

log = structlog.get_logger(__name__)

#: Seconds between two ticks.
TICK = 0.5
#: Approvals dealt with in one tick, so that a backlog never keeps the loop from clicks.
MAX_PER_TICK = 100
#: Seconds that the copy which decided has to announce before others do.
GRACE = 2.0
#: Seconds between two looks for grants whose window is over. Nobody accepts those; this only tidies up.
GRANTS_EVERY = 60.0


@dataclass
class Sweeper:
    """The housekeeping of one copy."""

    watching: Watching
    desk: Desk
    announcer: Announcer
    ingresses: KeyValue
    granted: Granted
    grants: KeyValue
    notifier: Notifier
    clock: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic
    #: Since when (monotonic, and wall clock) an ingress has not been seen.
    _absent: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    _generation: int = -1
    _grants_due: float = 0

    async def run(self) -> None:
        """Sweep, forever."""
        while True:
            try:
                await self.tick()
            except (*BUS_ERRORS, StoreUnavailable) as error:
                log.warning("sweep ended early", error=str(error) or type(error).__name__)
            await asyncio.sleep(TICK)

    async def tick(self) -> None:
        """One round, of bounded work. Raises what the bus raises; the next round goes on from there."""
        if not self.watching.current:
            return
        entries, now = self.watching.entries(), self.clock()
        await self._expire([entry for entry in entries if entry.open and entry.expires_at <= now])
        waiting = [entry for entry in entries if entry.open and entry.wait_seconds > 0]
        running = [entry for entry in entries if entry.announced and entry.spender]
        gone = await self._gone({entry.ingress for entry in waiting} | {entry.spender for entry in running})
        await self._withdraw(waiting, gone)
        await self._tell_lost([entry for entry in running if entry.spender in gone])
        late = timedelta(seconds=GRACE)
        settled = [entry for entry in entries if not entry.open and not entry.announced]
        await self._announce([entry for entry in settled if entry.resolved_at + late <= now])
        await self._call([entry for entry in entries if entry.next_move and entry.next_move <= now < entry.expires_at])
        self._notify(entries, now)
        await self._tidy_grants(now)

    async def _expire(self, due: list[Entry]) -> None:
        for entry in due[:MAX_PER_TICK]:
            await self.desk.decide(entry.approval_id, Expire())

    async def _announce(self, due: list[Entry]) -> None:
        for entry in due[:MAX_PER_TICK]:
            record = await self.desk.approvals.load(entry.approval_id)
            if record and not record.open and not record.announced:
                await self.announcer.announce(record)

    async def _call(self, due: list[Entry]) -> None:
        """Ask others as well, and remind; whichever copy is first."""
        for entry in due[:MAX_PER_TICK]:
            for action in (Escalate(), Remind()):
                await self.desk.decide(entry.approval_id, action)

    def _notify(self, entries: list[Entry], now: datetime) -> None:
        channels = {channel.name for channel in self.desk.channels}
        due = [entry for entry in entries if not all(busy(notice, channels, now) for notice in entry.notices)]
        for entry in due[:MAX_PER_TICK]:
            self.notifier.start(entry.approval_id)

    async def _tell_lost(self, due: list[Entry]) -> None:
        for entry in due[:MAX_PER_TICK]:
            record = await self.desk.approvals.load(entry.approval_id)
            if record and record.running:
                await self.announcer.announce_lost(record)

    async def _withdraw(self, waiting: list[Entry], gone: dict[str, datetime]) -> None:
        due = [entry for entry in waiting if entry.ingress in gone and _waited(entry, gone[entry.ingress])]
        for entry in due[:MAX_PER_TICK]:
            await self.desk.decide(entry.approval_id, Withdraw("the gateway process that held the caller is gone"))

    async def _gone(self, ingresses: set[str]) -> dict[str, datetime]:
        """Those silent for longer than their entry lives, and since when.

        The count starts anew with each connection: after an outage of the bus every ingress is silent for a moment.
        """
        if self._generation != self.watching.generation:
            self._generation, self._absent = self.watching.generation, {}
        for ingress in ingresses:
            if await self._lives(ingress):
                self._absent.pop(ingress, None)
            else:
                self._absent.setdefault(ingress, (self.monotonic(), self.clock()))
        self._absent = {name: since for name, since in self._absent.items() if name in ingresses}
        limit = self.monotonic() - INGRESS_TTL
        return {name: moment for name, (since, moment) in self._absent.items() if since <= limit}

    async def _lives(self, ingress: str) -> bool:
        try:
            await self.ingresses.get(ingress)
        except KeyNotFoundError:
            return False
        return True

    async def _tidy_grants(self, now: datetime) -> None:
        if self.monotonic() < self._grants_due:
            return
        self._grants_due = self.monotonic() + GRANTS_EVERY
        if self.granted.current:
            for key in self.granted.over(now)[:MAX_PER_TICK]:
                await self.grants.purge(key)


def _waited(entry: Entry, gone_since: datetime) -> bool:
    """Whether the caller was still on its connection when its ingress fell silent.

    One that had stopped waiting got its answer: the question stays open for `Countersign-Approval`.
    """
    return gone_since <= entry.requested_at + timedelta(seconds=entry.wait_seconds)
