"""One copy at a time serves a Slack channel: it alone opens sheets there, posts and updates.

    entry in the bucket                          a copy that has something to do there
    none                                         creates it, and serves
    somebody's, renewed within TAKEOVER          stands by
    somebody's, not renewed for TAKEOVER         takes it over, by compare-and-set

The holder renews every RENEW seconds and counts its lease from before each renewal; whoever stands by counts from when
it saw the renewal. So the holder's time is over before another's begins, and no clocks are compared. A call to Slack is
only begun with its whole timeout left (`Hold.covers`): a copy that loses the bus, yet not Slack, falls silent before
another posts. What is left is a request that lingers in the network after its caller has given up on it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.approver.slack.mirror import Seen
from services.approver.slack.sheet import Lease, lease_key
from services.approver.store import BUS_ERRORS, StoreUnavailable

log = structlog.get_logger(__name__)

#: Seconds a lease is good for without being renewed: a call to Slack (`web.TIMEOUT`) and some for the bus.
LASTS = 12.0
#: Seconds between renewals; several fit into LASTS.
RENEW = 2.0
#: Seconds without a renewal after which another copy takes over; more than LASTS, for clocks that run unevenly.
TAKEOVER = 14.0


class LeaseLost(Exception):
    """Another copy serves the lane now; nothing more may be done here."""


@dataclass
class Hold:
    """A lane's lease, held by this copy."""

    bucket: KeyValue
    lane: str
    holder: str
    revision: int
    #: Monotonic seconds at which it ends unless it is renewed.
    until: float
    clock: Callable[[], float] = time.monotonic

    def covers(self, seconds: float) -> bool:
        """Whether something that takes so long can be begun."""
        return self.clock() + seconds < self.until

    async def keep(self) -> None:
        """Renew, until it is lost. Cancel it to stop."""
        while self.covers(0):
            await asyncio.sleep(RENEW)
            began = self.clock()
            try:
                self.revision = await self.bucket.update(lease_key(self.lane), self._value(), self.revision)
                self.until = began + LASTS
            except KeyWrongLastSequenceError:
                self.until = 0
            except BUS_ERRORS as error:
                log.warning("lease not renewed", lane=self.lane, error=str(error) or type(error).__name__)

    async def release(self) -> None:
        """Let others have it at once. Best effort: it lapses anyhow."""
        self.until = 0
        try:
            await self.bucket.delete(lease_key(self.lane), last=self.revision)
        except (KeyWrongLastSequenceError, *BUS_ERRORS):
            return

    def _value(self) -> bytes:
        return Lease(lane=self.lane, holder=self.holder).model_dump_json().encode()


async def acquire(
    bucket: KeyValue,
    lane: str,
    holder: str,
    seen: Seen[Lease] | None,
    clock: Callable[[], float] = time.monotonic,
) -> Hold | None:
    """The lease, or None while another copy has it. `seen` is the entry as last seen. Raises StoreUnavailable."""
    began = clock()
    value = Lease(lane=lane, holder=holder).model_dump_json().encode()
    try:
        if seen is None:
            revision = await bucket.create(lease_key(lane), value)
        elif seen.value.holder == holder or began >= seen.since + TAKEOVER:
            revision = await bucket.update(lease_key(lane), value, seen.revision)
        else:
            return None
    except KeyWrongLastSequenceError:
        return None
    except BUS_ERRORS as error:
        raise StoreUnavailable(str(error)) from error
    return Hold(bucket, lane, holder, revision, began + LASTS, clock)
