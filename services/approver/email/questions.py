"""Events of the bus to mails: the question to everybody who may decide, and how it ended to everybody who was asked.

A copy mails one question after the other, in the order of the stream (`turns`), while JetStream holds them. When the
relay is away the first of them waits for it, and the others behind it; one that is settled meanwhile is not mailed any
more. An address with trouble of its own (greylisted, over quota) holds up nobody else. Each mail goes out by `once`, so
that neither a redelivery, nor a second copy, nor trouble with the next address mails anybody twice; its docstring says
what is left. An address that the relay refuses for good is noted, counted and logged; the other people, the other
channels and the command line go on.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog

from schemas.approvals import Notice
from schemas.events import ApprovalRequested
from services.approver import once, pending
from services.approver.asking import when_due
from services.approver.email import letters
from services.approver.email.letters import Letter, compose
from services.approver.email.page import Page
from services.approver.email.relay import Away, Line, MailTrouble, Refused, Relay
from services.approver.email.shown import shown
from services.approver.email.turns import Turns
from services.approver.metrics import Metrics
from services.approver.once import Busy, Once
from services.approver.pending import Approve
from services.approver.people import Known, is_address, reviewer
from services.approver.record import Held
from services.approver.store import Approvals

log = structlog.get_logger(__name__)

SENT = "sent"
#: Seconds between two attempts to reach the relay.
RETRY = 2.0

_LEADS = {
    "question": "Somebody has to decide on this before it runs.",
    "outcome": "This question is settled.",
    "reminder": "This question still waits, and time runs out.",
    "escalated": "Nobody has decided on this yet, so it is brought to you.",
    "break_glass": "EMERGENCY: one person let this through, without the others whom the rule asks.",
}


@dataclass(frozen=True)
class Questions:
    """Keeps mailboxes in step with the bucket."""

    approvals: Approvals
    once: Once
    relay: Relay
    page: Page
    people: Known
    sender: str
    metrics: Metrics
    clock: Callable[[], datetime]
    turns: Turns = field(default_factory=Turns)
    #: Set when this copy stops: nobody waits for the relay any more.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, request: ApprovalRequested, sequence: int) -> None:
        """Mail the question to everybody who may decide now, after those that are before it in the stream.

        Waits for a relay that is away, until the question is settled. Raises MailTrouble, Busy, StoreUnavailable.
        """
        await when_due(self.approvals, request, self.clock)
        async with self.turns.of(sequence):
            while True:
                record = await self.approvals.create(request)  # as it stands after waiting for its turn
                if not record.open:
                    return  # settled before anybody was asked
                try:
                    await self._mail(record, [*self._deciding(record), *_copied(record)], "question")
                    break
                except Away as away:
                    log.warning("the relay is away", approval_id=record.approval_id, error=str(away))
                    await self._wait(max(RETRY, away.at_least), away)
                    await self.turns.give_way(sequence)
        after = await self.approvals.load(request.approval_id)
        if after and not after.open:  # settled in between: whoever heard of that may have found no mail to follow
            await self.settle(after)

    async def show(self, approval_id: str) -> None:
        """Mail how it ended to those who were asked. Raises MailTrouble, Busy, StoreUnavailable."""
        record = await self.approvals.load(approval_id)
        if record and not record.open:
            await self.settle(record)

    async def settle(self, record: Held) -> None:
        """As `show`, of a record at hand."""
        if not record.break_glass:  # that is told loudly (`tell`)
            await self._mail(record, await self._asked(record), "outcome")

    async def tell(self, record: Held, notice: Notice) -> None:
        """Call people. Raises MailTrouble, Busy, StoreUnavailable."""
        match notice.kind:
            case "break_glass":
                concerned = [*await self._asked(record), *self._of(notice.groups)]
                await self._mail(record, concerned, "break_glass", loud=True)
            case "escalated" if record.open:
                # Whoever has the question already gets no second one: `once` knows.
                await self._mail(record, self._deciding(record), "question", lead="escalated")
            case "reminder" if record.open:
                asked = set(await self._asked(record))
                reminded = [address for address in self._deciding(record) if address in asked]
                await self._mail(record, reminded, "reminder", number=f".{int(notice.at.timestamp())}")

    async def _wait(self, seconds: float, why: MailTrouble) -> None:
        """Raises `why` when this copy stops meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
        raise why

    def _deciding(self, record: Held) -> list[str]:
        """Those whose yes would count now: never who asked, nor who has said yes."""
        now = self.clock()
        return [
            person.email
            for person in self.people.values()
            if pending.refused(record, Approve(reviewer(person, "email")), now) is None
        ]

    def _of(self, groups: Iterable[str]) -> list[str]:
        wanted = set(groups)
        return [person.email for person in self.people.values() if not wanted.isdisjoint(person.groups)]

    async def _asked(self, record: Held) -> list[str]:
        """Those who got the question."""
        known = dict.fromkeys([*(person.email for person in self.people.values()), *_copied(record)])
        return [address for address in known if await self.once.result(_key(record, "question", address)) == SENT]

    async def _mail(
        self,
        record: Held,
        addresses: Iterable[str],
        purpose: str,
        *,
        lead: str = "",
        number: str = "",
        loud: bool = False,
    ) -> None:
        """One mail each, over one connection; those who have it are passed over."""
        purpose, words = purpose + number, _LEADS[lead or purpose]
        due = [to for to in dict.fromkeys(addresses) if await self.once.result(_key(record, purpose, to)) is None]
        if not due:
            return
        view = shown(record, self.clock(), letters.STATEMENT)
        failed: list[MailTrouble | Busy] = []
        try:
            async with self.relay.line() as line:
                for to in due:
                    letter = Letter(to, view, words, purpose, self._link(record, to), loud)
                    try:
                        await self.once.perform(_key(record, letter.purpose, to), partial(self._send, line, letter))
                    except (MailTrouble, Busy) as error:
                        failed.append(error)
        except MailTrouble as trouble:  # no line at all
            self._count(trouble)
            raise
        if failed:
            raise failed[0]

    def _link(self, record: Held, to: str) -> str:
        """For somebody whose yes would count now; else none."""
        person = self.people.get(to.casefold())
        may = person and pending.refused(record, Approve(reviewer(person, "email")), self.clock()) is None
        return self.page.url(record, to) if may else ""

    async def _send(self, line: Line, letter: Letter) -> str:
        approval_id = letter.shown.approval_id
        try:
            await line.send(compose(letter, self.sender, self.clock()))
        except MailTrouble as trouble:
            self._count(trouble)
            raise
        except Refused as refused:
            self.metrics.channel_errors.labels("email", str(refused.code)).inc()
            log.error("a mail was refused for good", approval_id=approval_id, to=letter.to, answer=str(refused))
            return f"refused: {refused.code}"
        self.metrics.posts.labels("email", letter.purpose.partition(".")[0]).inc()
        log.info("mail handed over", approval_id=approval_id, to=letter.to, purpose=letter.purpose)
        return SENT

    def _count(self, trouble: MailTrouble) -> None:
        self.metrics.channel_errors.labels("email", trouble.code).inc()


def _copied(record: Held) -> list[str]:
    """The rule's further addresses."""
    return [address for address in record.request.terms.email if is_address(address)]


def _key(record: Held, purpose: str, address: str) -> str:
    return once.key("email", record.approval_id, purpose, address)
