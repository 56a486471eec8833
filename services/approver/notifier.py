"""Has each channel tell each notice (a reminder, an escalation, broken glass), by one copy at a time.

    channel in the notice     what a copy does
    not claimed               claims it for CLAIM seconds by compare-and-set, tells it, notes it as told
    claimed, time not over    nothing: a copy is at it
    claimed, time over        claims it again: that copy crashed, or the channel was away
    told                      nothing

So a notice is told at least once, and twice only when a copy died between telling it and noting that.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from schemas.approvals import Notice
from services.approver.channels import Channel, ChannelTrouble
from services.approver.desk import Desk
from services.approver.pending import Refusal
from services.approver.record import Held
from services.approver.store import BUS_ERRORS, StoreUnavailable

log = structlog.get_logger(__name__)

#: Seconds that one copy has to tell a notice, Slack's rate limit included.
CLAIM = 60.0
#: Of which the channel may use this many; the rest is for noting it.
TELL = 45.0
#: Seconds until a channel that failed is asked again.
RETRY = 5.0
#: After this long nobody tries any more.
TOO_OLD = timedelta(hours=1)


@dataclass(frozen=True)
class _Claimed:
    """One notice that this copy tells on one channel."""

    approval_id: str
    index: int
    channel: str


@dataclass(frozen=True)
class Notifier:
    """Tells notices."""

    desk: Desk

    def start(self, approval_id: str) -> None:
        """In the background, unless this copy is at it already."""
        self.desk.tasks.start(self.tell(approval_id), f"notices:{approval_id}")

    async def tell(self, approval_id: str) -> None:
        """Whatever of this approval is nobody's at the moment."""
        try:
            record = await self.desk.approvals.load(approval_id)
            if record is None:
                return
            await self._finish(record)
            for index, notice in enumerate(record.notices):
                if notice in record.untold:
                    for channel in self.desk.channels:
                        await self._tell(record, index, channel)
        except (*BUS_ERRORS, StoreUnavailable) as error:
            log.warning("notice not told yet", approval_id=approval_id, error=str(error) or type(error).__name__)

    async def _tell(self, record: Held, index: int, channel: Channel) -> None:
        mine = _Claimed(record.approval_id, index, channel.name)
        held = await self._claim(mine)
        if held is None:
            return
        try:
            async with asyncio.timeout(TELL):
                await channel.tell(held, held.notices[index])
        except (ChannelTrouble, TimeoutError) as error:
            log.warning("notice not told", approval_id=record.approval_id, channel=channel.name, error=str(error))
            await self.desk.approvals.step(record.approval_id, lambda now: self._released(now, mine))
            return
        await self.desk.approvals.step(record.approval_id, lambda now: self._told(now, mine))

    async def _claim(self, mine: _Claimed) -> Held | None:
        """The record with our claim in it; None when it is another's, told, or too late."""
        now = self.desk.clock()
        won = False

        def claim(record: Held) -> Held:
            nonlocal won
            notice = record.notices[mine.index]
            free = notice.claimed.get(mine.channel, now) <= now
            won = free and mine.channel not in notice.told and notice in record.untold
            if not won:
                return record
            claimed = {**notice.claimed, mine.channel: now + timedelta(seconds=CLAIM)}
            return _with(record, mine.index, notice.model_copy(update={"claimed": claimed}))

        result = await self.desk.approvals.step(mine.approval_id, claim)
        return result if won and not isinstance(result, Refusal) else None

    async def _finish(self, record: Held) -> None:
        """Note those that every channel has told, and those that are too old."""
        now = self.desk.clock()
        if any(self._over(notice, now) for notice in record.untold):
            await self.desk.approvals.step(record.approval_id, lambda current: self._done(current, now))

    def _told(self, record: Held, mine: _Claimed) -> Held:
        notice = record.notices[mine.index]
        told = notice.model_copy(update={"told": (*notice.told, mine.channel)})
        return _with(record, mine.index, told.model_copy(update={"done": self._everywhere(told)}))

    def _released(self, record: Held, mine: _Claimed) -> Held:
        notice = record.notices[mine.index]
        until = self.desk.clock() + timedelta(seconds=RETRY)
        return _with(record, mine.index, notice.model_copy(update={"claimed": {**notice.claimed, mine.channel: until}}))

    def _done(self, record: Held, now: datetime) -> Held:
        for index, notice in enumerate(record.notices):
            if not notice.done and self._over(notice, now):
                if not self._everywhere(notice):
                    log.error("a notice was told too late", approval_id=record.approval_id, kind=notice.kind)
                record = _with(record, index, notice.model_copy(update={"done": True}))
        return record

    def _over(self, notice: Notice, now: datetime) -> bool:
        return self._everywhere(notice) or notice.at + TOO_OLD <= now

    def _everywhere(self, notice: Notice) -> bool:
        return {channel.name for channel in self.desk.channels} <= set(notice.told)


def _with(record: Held, index: int, notice: Notice) -> Held:
    notices = (*record.notices[:index], notice, *record.notices[index + 1 :])
    return record.model_copy(update={"notices": notices})


def busy(notice: Notice, channels: set[str], now: datetime) -> bool:
    """Whether nothing can be done about a notice now: each channel has told it, or a copy is at it."""
    waiting = channels - set(notice.told)
    return bool(waiting) and all(notice.claimed.get(name, now) > now for name in waiting)
