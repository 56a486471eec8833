"""Makes one call to Slack, so that it has been made once whatever breaks, and notes what came of it.

    part in the sheet          what is done
    none                       note the intent, then post
    intent (no `ts`)           posted by an earlier attempt? look for it and adopt it; else post
    posted, shows old state    update it
    gone                       nothing: nobody to tell, or somebody removed the message

The intent is stored before Slack is asked and `ts` after it answered, both by compare-and-set under the lease; so a
crash anywhere leaves an intent, and whoever goes on looks first. `clerk` says which call is next.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from services.approver.slack.board import Board, Place
from services.approver.slack.lane import Pace
from services.approver.slack.lease import Hold, LeaseLost
from services.approver.slack.ledger import Ledger
from services.approver.slack.people import People
from services.approver.slack.rendering import Page
from services.approver.slack.sheet import Part, Sheet
from services.approver.slack.web import TIMEOUT, RateLimited, Rejected, SlackTrouble

log = structlog.get_logger(__name__)

#: Seconds between attempts when Slack says no for a reason that an operator has to mend; when it does not answer.
MEND, AGAIN = 30.0, 1.0
#: Seconds between looks whether the lease was renewed.
LOOK = 0.1
#: What Slack says about a message that is not there any more.
_GONE = frozenset(
    {"message_not_found", "channel_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
)


@dataclass
class Job:
    """One call to Slack that would bring a message into step."""

    sheet: Sheet
    page: Page
    do: Literal["post", "update"]
    place: Place
    paces: list[Pace]
    #: The address of whoever asked, for a message to them.
    asker: str
    #: A question that was settled; it is not asked any more, unless it was.
    needless: bool


@dataclass
class Courier:
    """Makes the calls of one lane, as long as its lease is held."""

    ledger: Ledger
    board: Board
    people: People
    hold: Hold
    clock: Callable[[], float] = time.monotonic
    #: Intents of which we know that nothing was posted.
    _clean: set[tuple[str, str]] = field(default_factory=set)
    #: By sheet and part: not tried before (monotonic seconds).
    _after: dict[tuple[str, str], float] = field(default_factory=dict)

    def pause(self, sheet_id: str, part: str) -> float:
        """Seconds for which this part is not tried again."""
        return max(self._after.get((sheet_id, part), 0.0) - self.clock(), 0.0)

    async def deliver(self, job: Job) -> None:
        """Make the call; what Slack refuses is put off. Raises LeaseLost, StoreUnavailable."""
        key = (job.sheet.sheet_id, job.page.part)
        for pace in job.paces:
            pace.take()
        try:
            await (self._update(job) if job.do == "update" else self._post(job))
            self._after.pop(key, None)
        except SlackTrouble as trouble:
            await self._put_off(job, trouble)

    async def _put_off(self, job: Job, trouble: SlackTrouble) -> None:
        part = job.sheet.parts.get(job.page.part)
        pause = AGAIN
        match trouble:
            case RateLimited(retry_after=seconds):
                pause = seconds
                job.paces[0].hold(seconds)
            case Rejected(code=code) if code in _GONE and (job.do == "update" or job.page.where == "thread"):
                await self._store(job, (part or Part(channel="")).model_copy(update={"gone": True}))
            case Rejected() if job.page.where == "direct":  # a courtesy: an account that is gone, a scope not granted
                await self._store(job, Part(channel="", gone=True))
            case Rejected():
                pause = MEND
        log.warning("Slack not in step", sheet_id=job.sheet.sheet_id, part=job.page.part, error=trouble.code)
        self._after[job.sheet.sheet_id, job.page.part] = self.clock() + pause

    async def _update(self, job: Job) -> None:
        part = job.sheet.parts[job.page.part]
        await self._covered()
        await self.board.update(job.page, part.channel, part.ts)
        await self._store(job, part.model_copy(update={"shown": job.page.digest}))

    async def _post(self, job: Job) -> None:
        key = (job.sheet.sheet_id, job.page.part)
        part = job.sheet.parts.get(job.page.part)
        place = await self._addressed(job, part)
        if place is None:
            await self._store(job, Part(channel="", gone=True))
            return
        if part is not None and key not in self._clean:
            found = await self.board.find(*key, place, job.sheet.opened_at)
            if found is not None:  # what it says is brought up to date next
                await self._store(job, Part(channel=found[0], ts=found[1]))
                return
        if job.needless:
            await self._store(job, None)
            return
        if part is None:
            await self._store(job, Part(channel=place.channel))
        await self._covered()
        self._clean.discard(key)
        try:
            channel, ts = await self.board.post(job.sheet.sheet_id, job.page, place)
        except SlackTrouble as trouble:
            if not trouble.carried_out:
                self._clean.add(key)
            raise
        await self._store(job, Part(channel=channel, ts=ts, shown=job.page.digest))
        log.info("posted", sheet_id=job.sheet.sheet_id, part=job.page.part, approvals=len(job.sheet.members), ts=ts)

    async def _addressed(self, job: Job, part: Part | None) -> Place | None:
        """Where a message goes; None when there is nobody to tell."""
        if job.page.where != "direct" or (part and part.channel):
            return job.place
        account = await self.people.account(job.asker)
        return Place(await self.board.direct(account)) if account else None

    async def _covered(self) -> None:
        """Until the lease outlasts a call. Raises LeaseLost."""
        while not self.hold.covers(TIMEOUT):
            if not self.hold.covers(0):
                raise LeaseLost(self.hold.lane)
            await asyncio.sleep(LOOK)

    async def _store(self, job: Job, part: Part | None) -> None:
        job.sheet = job.sheet.with_part(job.page.part, part, job.sheet.upto)
        await self.write(job.sheet)

    async def write(self, sheet: Sheet) -> None:
        """Store a sheet. Raises LeaseLost rather than write what the next holder does not expect."""
        if not self.hold.covers(0):
            raise LeaseLost(self.hold.lane)
        await self.ledger.write(sheet)
