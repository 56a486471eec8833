"""Keeps Slack in step with the buckets, lane by lane: gathers what is new, posts, updates, in that order of urgency.

A lane is one Slack channel with what hangs on its messages. Whichever copy holds its lease works off the difference
between how things stand and what is shown (`ledger`), one call at a time (`courier`). What Slack refuses waits and
comes again, as long as there is something to show: the buckets keep the difference, not this process.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import structlog

from services.approver.record import Held
from services.approver.slack import lane as pacing
from services.approver.slack.board import Place
from services.approver.slack.courier import Courier, Job
from services.approver.slack.gathering import gather
from services.approver.slack.lane import Paces
from services.approver.slack.ledger import Ledger
from services.approver.slack.notices import calling
from services.approver.slack.people import People
from services.approver.slack.rendering import QUESTION, Page, pages
from services.approver.slack.sheet import Sheet
from services.approver.slack.web import SlackTrouble

log = structlog.get_logger(__name__)

#: New approvals gathered in one go; the others follow before anything is posted.
BATCH = 200
#: Sheets looked at for the next call, the oldest first: each is held in memory until it is in step.
COMPARED = 256
#: Longest sleep (seconds) while there is something to do: time itself may make a thing due.
NAP = 1.0
#: How long the note of a settled message is kept, for what comes late: how an approved operation ended.
KEEP = timedelta(hours=24)


@dataclass
class Clerk:
    """Serves one lane for as long as its lease is held and there is something to do."""

    ledger: Ledger
    courier: Courier
    people: People
    paces: Paces
    lane: str
    bell: asyncio.Event
    now: Callable[[], datetime]
    _records: dict[str, tuple[int, Held]] = field(default_factory=dict)
    #: By sheet: what was compared last, and what came of it.
    _compared: dict[str, tuple[Sheet, int, list[Job]]] = field(default_factory=dict)

    async def serve(self) -> None:
        """Work until nothing is left to do. Raises LeaseLost, StoreUnavailable."""
        await self._tidy()
        while self.ledger.new(self.lane) or self.ledger.behind(self.lane):
            self.bell.clear()
            waiting = await self._gather()
            if (pause := self._paced()) > 0:  # nothing may go yet: what changes until then is looked at once
                await asyncio.sleep(min(pause, NAP))
                continue
            job = await self._next()
            if job is None and not waiting and not self.ledger.behind(self.lane):
                return
            pause = self._pause(job) if job else NAP
            if job is None or pause > 0:
                await self._sleep(min(pause, NAP))
            else:
                await self.courier.deliver(job)

    def _paced(self) -> float:
        """Seconds until anything at all may be sent here."""
        return min(pacing.wait(self.paces.update()), pacing.wait(self.paces.post(self.lane)))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.bell.wait()

    async def _tidy(self) -> None:
        for sheet in self.ledger.settled_before(self.lane, self.now() - KEEP)[:BATCH]:
            await self.ledger.forget(sheet)

    async def _gather(self) -> bool:
        """Put new approvals on sheets; whether some have to wait for their blast radius."""
        lane, due, waiting = self.lane, [], False
        for approval_id in self.ledger.new(lane)[:BATCH]:
            found = await self.ledger.read(approval_id)
            if found is None or not (found[1].open or found[1].break_glass):
                continue  # the mirror will see it
            if not found[1].open or found[1].preview_due(self.now()):
                due.append(found[1])
            else:
                waiting = True
        if due:
            for sheet in gather(due, self.ledger.sheets(lane), lane, self.now(), self.ledger.is_open):
                await self.courier.write(sheet)
        return waiting

    async def _next(self) -> Job | None:
        """The most urgent call that may be made now, else the one that may be made first."""
        best: Job | None = None
        sheets = self.ledger.behind(self.lane)
        if len(sheets) > COMPARED:
            sheets = [sheet for sheet in sheets if not self._put_off_all(sheet)]
        for sheet in sheets[:COMPARED]:
            for job in await self._jobs(sheet):
                if best is None or self._rank(job) < self._rank(best):
                    best = job
        return best

    def _rank(self, job: Job) -> tuple[float, int, bool, str]:
        return (self._pause(job), job.page.urgency, job.do == "update", job.sheet.sheet_id)

    def _put_off_all(self, sheet: Sheet) -> bool:
        return self.courier.pause(sheet.sheet_id, QUESTION) > 0

    def _pause(self, job: Job) -> float:
        return max(pacing.wait(job.paces), self.courier.pause(job.sheet.sheet_id, job.page.part))

    async def _jobs(self, sheet: Sheet) -> list[Job]:
        """What is to be done for a sheet; when that is nothing, it is noted as shown."""
        found = await self._members(sheet)
        if found is None:
            return []
        upto, records = found
        compared = self._compared.get(sheet.sheet_id)
        if compared and compared[:2] == (sheet, upto):
            jobs = compared[2]
        else:
            jobs = await self._compare(sheet, records)
            self._compared[sheet.sheet_id] = (sheet, upto, jobs)
        if not jobs:
            await self.courier.write(sheet.model_copy(update={"upto": upto}))
            del self._compared[sheet.sheet_id]
            for member in sheet.members:
                self._records.pop(member, None)
        return jobs

    async def _compare(self, sheet: Sheet, records: Sequence[Held]) -> list[Job]:
        called = {group for record in records for notice in calling(record) for group in notice.groups}
        calls = {group: await self._mention(group) for group in sorted(called)}
        due = [(page, page.due(sheet.parts.get(page.part))) for page in pages(sheet, records, calls)]
        return [self._job(sheet, records, page, do) for page, do in due if do]

    def _job(self, sheet: Sheet, records: Sequence[Held], page: Page, do: Literal["post", "update"]) -> Job:
        question, part = sheet.parts.get(QUESTION), sheet.parts.get(page.part)
        place, paced = Place(sheet.lane), sheet.lane
        if page.where == "thread" and question:
            place = Place(question.channel, question.ts)
        elif page.where == "direct":
            place, paced = Place(part.channel if part else ""), f"@{_asker(records[0])}"
        paces = self.paces.update() if do == "update" else self.paces.post(paced)
        needless = page.part == QUESTION and not any(record.open for record in records)
        return Job(sheet, page, do, place, paces, _asker(records[0]), needless)

    async def _members(self, sheet: Sheet) -> tuple[int, list[Held]] | None:
        """The approvals on a sheet and the newest of their revisions; None when a read lags behind the watch."""
        for member in sheet.members:
            newest = self.ledger.revision_of(member)
            known = self._records.get(member)
            if known is None or known[0] < newest:
                found = await self.ledger.read(member)
                if found is None:  # its entry is gone, and with it whatever there was to show
                    await self.ledger.forget(sheet)
                    return None
                if found[0] < newest:
                    return None
                self._records[member] = found
        records = [self._records[member] for member in sheet.members]
        return max(revision for revision, _ in records), [record for _, record in records]

    async def _mention(self, group: str) -> str:
        try:
            return await self.people.mention(group)
        except SlackTrouble as trouble:
            log.warning("nobody mentioned", group=group, error=trouble.code)
            return ""

    async def fence(self) -> None:
        """Write each sheet that may still change anew: what its former holder sent late does not count any more."""
        for sheet in list(self.ledger.sheets(self.lane)):
            if any(self.ledger.is_open(member) for member in sheet.members):
                await self.courier.write(sheet)


def _asker(record: Held) -> str:
    """The address of whoever asked, else of the owner of the service account that did."""
    identity = record.request.identity
    return identity.email or identity.owner
