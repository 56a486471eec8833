"""All messages of one sheet as they should be now: the question, and what hangs on it. Pure.

    part                what                                              where        kept up to date
    question            asks, and shows how it stands                     the channel  yes
    alarm.<approval>    glass was broken: calls everybody                 the channel  no: it calls once
    call.<rule>         escalated: calls those who may decide as well     its thread   no
    call.reminder       hardly any time is left: calls those still needed its thread   no
    outcomes            how the approved operations ended                 its thread   yes
    answer              tells the asker how it was settled                their DM     yes

What is there already is compared with this by digest (`Page.digest`): a state that was overtaken is never sent, so
however often an approval changes, Slack sees the newest state only.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.approver.record import Held
from services.approver.slack import blocks, gathered, notices
from services.approver.slack.kit import Block
from services.approver.slack.limits import TEXT
from services.approver.slack.sheet import Part, Sheet

QUESTION, ALARM, CALL, OUTCOMES, ANSWER = "question", "alarm.", "call.", "outcomes", "answer"

Where = Literal["channel", "thread", "direct"]


@dataclass(frozen=True)
class Page:
    """One message as it should be."""

    part: str
    where: Where
    text: str
    blocks: list[Block]
    #: Lower goes first.
    urgency: int
    #: Whether it follows what happens later; what calls people is said once.
    follows: bool = True

    @property
    def digest(self) -> str:
        """Equal for equal messages."""
        return hashlib.sha256(json.dumps([self.text, self.blocks]).encode()).hexdigest()[:32]

    def due(self, part: Part | None) -> Literal["post", "update"] | None:
        """What has to be done so that Slack shows it, if anything."""
        if part is None or (not part.ts and not part.gone):
            return "post"
        return "update" if self.follows and not part.gone and part.shown != self.digest else None


def pages(sheet: Sheet, records: Sequence[Held], calls: Mapping[str, str]) -> list[Page]:
    """The messages that should be there, the urgent ones first. `records` are the members; `calls` group to mentions.

    A question that was settled before anybody saw it is not asked any more.
    """
    asked = sheet.parts.get(QUESTION)
    found: list[Page] = []
    if asked or any(record.open for record in records):
        found.append(_question(sheet, records))
    found += _alarms(records)
    if asked and asked.ts and not asked.gone:
        found += _calls(records, calls)
        found += _page(OUTCOMES, "thread", notices.outcomes(records), 3)
    if any(not record.open for record in records):
        found += _page(ANSWER, "direct", notices.answer(records), 4)
    return sorted(found, key=lambda page: page.urgency)


def _question(sheet: Sheet, records: Sequence[Held]) -> Page:
    text, shown = blocks.message(records[0]) if len(records) == 1 else gathered.message(sheet, records)
    return Page(QUESTION, "channel", text[:TEXT], shown, 1)


def _alarms(records: Sequence[Held]) -> list[Page]:
    return [
        Page(f"{ALARM}{record.approval_id}", "channel", *notices.alarm(record), urgency=0, follows=False)
        for record in records
        if record.break_glass and not record.open
    ]


def _calls(records: Sequence[Held], calls: Mapping[str, str]) -> list[Page]:
    """One for each rule that escalated and one for the end of time, however many approvals are on the sheet."""
    found: dict[str, Page] = {}
    for record in records:
        for notice in notices.calling(record):
            part = f"{CALL}{notice.rule or notice.kind}"
            if part not in found:
                people = " ".join(calls[group] for group in notice.groups if calls.get(group))
                found[part] = Page(part, "thread", *notices.call(record, notice, people), urgency=0, follows=False)
    return list(found.values())


def _page(part: str, where: Where, message: notices.Message | None, urgency: int) -> list[Page]:
    return [Page(part, where, message[0][:TEXT], message[1], urgency)] if message else []
