"""Things that must happen once, told to a side that cannot say whether they did: a mail, a POST, an answer.

    entry in the bucket        what `Once.perform` does
    none                       claims it, acts, marks it done
    claimed, not long ago      raises Busy: another copy is at it
    claimed, longer than that  that copy died: takes the claim over and acts
    done                       nothing; the result is the stored one

Every step is a compare-and-set, so one copy acts at a time; the act is cut off before its claim lapses. What is left is
the nature of such a side: a copy that dies, or loses the bus for as long as `_mark` tries, between the act and the mark
lets the act be repeated. SMTP knows the same gap (RFC 1047); repeats carry the same Message-ID or webhook-id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import structlog
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import ValidationError

from schemas.base import Contract, Moment
from services.approver.store import BUS_ERRORS, StoreUnavailable

log = structlog.get_logger(__name__)

#: Seconds an act may take in all.
ACT = 45.0
#: Seconds for which a claim counts: the act, and by how much the copies' clocks may differ.
CLAIM = ACT + 15.0
#: Attempts, and seconds between them, to mark as done what was done: an embedded bus restarts within that.
MARKS, MARK_EVERY = 8, 1.0


class Busy(Exception):
    """Another copy claimed it and may be at it still."""


class Delivery(Contract):
    """What the bucket holds of one act."""

    claimed_at: Moment
    done: bool = False
    #: In the act's own words: `sent`, `refused: 550`, an answer that was given.
    result: str = ""


def key(*parts: str) -> str:
    """A key of the bucket; the last part may be anything, such as an address."""
    return ".".join((*parts[:-1], sha256(parts[-1].casefold().encode()).hexdigest()[:32]))


@dataclass(frozen=True)
class Once:
    """Acts by key, each done once."""

    bucket: KeyValue
    clock: Callable[[], datetime]

    async def perform(self, name: str, act: Callable[[], Awaitable[str]]) -> str:
        """The result of the act, now or earlier. Raises Busy, StoreUnavailable, TimeoutError and what the act raises.

        When the act raises, the claim is given back: the next attempt need not wait.
        """
        entry = await self._entry(name)
        if entry and entry[0].done:
            return entry[0].result
        revision = await self._claim(name, entry)
        try:
            async with asyncio.timeout(ACT):
                result = await act()
        except Exception:
            await self._release(name, revision)
            raise
        await self._mark(name, revision, result)
        return result

    async def result(self, name: str) -> str | None:
        """What came of it; None when it was not done. Raises Busy while somebody is at it, StoreUnavailable."""
        entry = await self._entry(name)
        if entry is None:
            return None
        if entry[0].done:
            return entry[0].result
        if self._fresh(entry[0]):
            raise Busy
        return None

    def _fresh(self, delivery: Delivery) -> bool:
        return self.clock() < delivery.claimed_at + timedelta(seconds=CLAIM)

    async def _claim(self, name: str, entry: tuple[Delivery, int] | None) -> int:
        claim = Delivery(claimed_at=self.clock()).model_dump_json().encode()
        if entry and self._fresh(entry[0]):
            raise Busy
        try:
            if entry is None:
                return await self.bucket.create(name, claim)
            return await self.bucket.update(name, claim, entry[1])
        except KeyWrongLastSequenceError:
            raise Busy from None
        except BUS_ERRORS as error:
            raise StoreUnavailable(str(error)) from error

    async def _release(self, name: str, revision: int) -> None:
        try:
            await self.bucket.delete(name, revision)
        except BUS_ERRORS:
            return  # it lapses

    async def _mark(self, name: str, revision: int, result: str) -> None:
        done = Delivery(claimed_at=self.clock(), done=True, result=result).model_dump_json().encode()
        for attempt in range(1, MARKS + 1):
            try:
                await self.bucket.update(name, done, revision)
                return
            except KeyWrongLastSequenceError:
                return  # an earlier attempt of ours was carried out
            except BUS_ERRORS as error:
                if attempt == MARKS:
                    log.error("done, but not marked as done: it may happen again", key=name)
                    raise StoreUnavailable(str(error)) from error
            await asyncio.sleep(MARK_EVERY)

    async def _entry(self, name: str) -> tuple[Delivery, int] | None:
        try:
            entry = await self.bucket.get(name)
            return Delivery.model_validate_json(entry.value or b""), entry.revision or 0
        except KeyNotFoundError:
            return None
        except (*BUS_ERRORS, ValidationError) as error:
            raise StoreUnavailable(str(error)) from error
