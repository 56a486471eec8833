"""A click on a button that stands for one approval or for several: which they are, and what came of each.

Each approval is decided by itself at the desk, with a certificate of its own. A button for several means the approvals
of its `Selection` and no other, whatever has joined the message since.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.approver.desk import Desk
from services.approver.pending import Decision, Refusal, Why
from services.approver.record import Held
from services.approver.slack.gathering import MAX_MEMBERS
from services.approver.slack.ledger import Ledger
from services.approver.slack.sheet import Selection
from services.approver.slack.words import count

#: Longest approval id that is looked up; what is longer is not ours.
MAX_ID = 36
_UNKNOWN = Refusal(Why.UNKNOWN, "There is no such approval; it may have been removed after its time.")
_CHANGED = Refusal(Why.UNKNOWN, "This list is not the one that you were shown; nothing was done. Look at it again.")


@dataclass(frozen=True)
class Decisions:
    """Decides on what a button's value stands for. All methods raise StoreUnavailable."""

    desk: Desk
    ledger: Ledger

    async def meant(self, value: str) -> list[Held] | Refusal:
        """The approvals that a button stands for, settled ones among them."""
        selection = Selection.parse(value)
        if selection is None:
            record = await self.desk.approvals.load(value[:MAX_ID] or "-")
            return [record] if record else _UNKNOWN
        return await self.selected(selection)

    async def selected(self, selection: Selection) -> list[Held] | Refusal:
        """The approvals that were listed."""
        sheet = await self.ledger.read_sheet(selection.sheet_id[:MAX_ID])
        if sheet is None or not 0 < selection.count <= min(len(sheet.members), MAX_MEMBERS):
            return _CHANGED
        found = await asyncio.gather(*(self.desk.approvals.load(member) for member in sheet.members[: selection.count]))
        records = [record for record in found if record]
        return records if selection.covers(records) else _CHANGED

    async def decide(self, records: Sequence[Held], action: Callable[[bool], Decision]) -> str:
        """Decide on those that are open; `action` is told whether it is for the first. Words for what was not done."""
        if len(records) == 1:
            result = await self.desk.decide(records[0].approval_id, action(True))
            return result.words if isinstance(result, Refusal) else ""
        waiting = [record for record in records if record.open]
        if not waiting:
            return "All of them were settled before; your click changed nothing."
        results = await asyncio.gather(
            *(self.desk.decide(record.approval_id, action(not at)) for at, record in enumerate(waiting))
        )
        return _words([result for result in results if isinstance(result, Refusal)], len(waiting))

    async def refused(self, records: Sequence[Held], action: Decision) -> Refusal | None:
        """Why this person could decide on none of them, before they are asked for a reason."""
        previews = [await self.desk.preview(record.approval_id, action) for record in records]
        refusals = [preview for preview in previews if isinstance(preview, Refusal)]
        return refusals[0] if len(refusals) == len(previews) else None


def _words(refusals: Sequence[Refusal], tried: int) -> str:
    """`3 of 15 were not decided by you: …`, with each reason once."""
    if not refusals:
        return ""
    reasons = dict.fromkeys(refusal.words for refusal in refusals)
    return f"{len(refusals)} of {count(tried, 'approval')} were not decided by you: " + " ".join(reasons)
