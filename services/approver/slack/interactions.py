"""Clicks and forms to decisions: who clicked, may they, then the desk; and what they get to see.

The answer to Slack is given after the decision is stored, within Slack's three seconds (`handle`); whoever is refused
is told why, in private, after that. Counterparts: `socket` and `interactivity` carry the payloads, both verified.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from schemas.approvals import Reviewer
from services.approver.pending import Approve, BreakGlass, Decision, Deny, Refusal
from services.approver.record import Held
from services.approver.slack import blocks, gathered, modal, review
from services.approver.slack.board import Board
from services.approver.slack.decisions import Decisions
from services.approver.slack.limits import WORK
from services.approver.slack.people import People, Stranger
from services.approver.slack.sheet import Selection
from services.approver.slack.text import line
from services.approver.slack.web import SlackTrouble, call
from services.approver.store import StoreUnavailable

log = structlog.get_logger(__name__)

Payload = dict[str, Any]
#: Longest value of a button that is looked at: a `Selection`.
MAX_VALUE = 100
#: Characters of an explanation.
MAX_WORDS = 1000

_DENY = (blocks.DENY, review.DENY)
_BREAK_GLASS = (blocks.BREAK_GLASS, review.BREAK_GLASS)
_FORMS = (modal.DENY, modal.BREAK_GLASS)


class NotHandled(Exception):
    """Nothing can be said about the click now: it must not be acked, so that Slack sends it again or says so."""


@dataclass(frozen=True)
class Interactions:
    """What people do in Slack."""

    decisions: Decisions
    people: People
    board: Board
    web: AsyncWebClient

    async def handle(self, payload: Payload) -> Payload:
        """The body of the ack. Raises NotHandled when there must be none."""
        try:
            async with asyncio.timeout(WORK):
                return await self._handle(payload)
        except (StoreUnavailable, SlackTrouble, TimeoutError) as error:
            log.warning("click not handled", kind=payload.get("type"), error=str(error) or type(error).__name__)
            raise NotHandled from None

    async def _handle(self, payload: Payload) -> Payload:
        match payload.get("type"):
            case "block_actions":
                for action in payload.get("actions", [])[:1]:
                    await self._clicked(payload, str(action.get("action_id")), str(action.get("value"))[:MAX_VALUE])
            case "view_submission" if payload["view"].get("callback_id") in _FORMS:
                return await self._submitted(payload)
        return {}

    async def _clicked(self, payload: Payload, action_id: str, value: str) -> None:
        seconds = _grant_of(action_id)
        if seconds is None and action_id not in (*_DENY, *_BREAK_GLASS, gathered.REVIEW):
            return
        reviewer = await self.people.reviewer(payload["user"]["id"])
        if isinstance(reviewer, Stranger):
            await self._explain(payload, reviewer.words)
            return
        records = await self.decisions.meant(value)
        if isinstance(records, Refusal):
            await self._explain(payload, records.words)
        elif action_id == gathered.REVIEW:
            await self._review(payload, value, records)
        elif seconds is not None:
            words = await self.decisions.decide(records, lambda first: Approve(reviewer, seconds if first else 0))
            await self._explain(payload, words)
        else:
            await self._open_form(payload, action_id, value, records, reviewer)

    async def _review(self, payload: Payload, value: str, records: list[Held]) -> None:
        selection = Selection.parse(value)
        if selection is not None:
            await call(self.web.views_open(trigger_id=payload["trigger_id"], view=review.form(selection, records)))

    async def _open_form(
        self, payload: Payload, action_id: str, value: str, records: list[Held], reviewer: Reviewer
    ) -> None:
        breaking = action_id in _BREAK_GLASS
        trial: Decision = BreakGlass(reviewer, "…") if breaking else Deny(reviewer, "…")
        refusal = await self.decisions.refused(records, trial)
        if refusal is not None:
            await self._explain(payload, refusal.words)
            return
        below = review.place(payload.get("view"))
        make = modal.break_glass_form if breaking else modal.deny_form
        view = make(value, blocks.summary(records[0], len(records)), below)
        trigger = payload["trigger_id"]
        if below:
            await call(self.web.views_push(trigger_id=trigger, view=view))
        else:
            await call(self.web.views_open(trigger_id=trigger, view=view))

    async def _submitted(self, payload: Payload) -> Payload:
        reviewer = await self.people.reviewer(payload["user"]["id"])
        if isinstance(reviewer, Stranger):
            return _instead(reviewer.words)
        view = payload["view"]
        value, below = modal.about(view)
        reason, breaking = modal.reason_of(view), view["callback_id"] == modal.BREAK_GLASS
        records = await self.decisions.meant(value)
        if isinstance(records, Refusal):
            return _instead(records.words)
        words = await self.decisions.decide(records, _decision(reviewer, reason, breaking))
        if words:
            return _instead(words)
        if below:
            self.decisions.desk.tasks.start(self._redraw(below, ""), "review")
        return {}

    async def _explain(self, payload: Payload, words: str) -> None:
        """Tell why, in private and after the ack: Slack's three seconds are for the decision. In a form, redraw it."""
        if below := review.place(payload.get("view")):
            self.decisions.desk.tasks.start(self._redraw(below, words), "review")
            return
        if not words:
            return
        channel = str(payload.get("container", {}).get("channel_id") or payload.get("channel", {}).get("id") or "")
        user = str(payload["user"]["id"])
        self.decisions.desk.tasks.start(self._whisper(channel, user, line(words, MAX_WORDS)), "whisper")

    async def _redraw(self, below: str, words: str) -> None:
        """Best effort: the message itself shows what was decided."""
        view_id, _, value = below.partition("|")
        selection = Selection.parse(value)
        try:
            records = await self.decisions.selected(selection) if selection else None
            if selection and isinstance(records, list):
                await call(self.web.views_update(view_id=view_id, view=review.form(selection, records, words)))
        except (SlackTrouble, StoreUnavailable) as error:
            log.warning("form not redrawn", error=str(error))

    async def _whisper(self, channel: str, user: str, words: str) -> None:
        try:
            await self.board.whisper(channel, user, words)
        except SlackTrouble as trouble:
            log.warning("a person was not told why", error=trouble.code, words=words)


def _decision(reviewer: Reviewer, reason: str, breaking: bool) -> Callable[[bool], Decision]:
    return lambda first: BreakGlass(reviewer, reason) if breaking else Deny(reviewer, reason)


def _grant_of(action_id: str) -> float | None:
    """Seconds of grant that a button stands for, 0 for once; None when it is not one of ours."""
    if action_id in (blocks.APPROVE, review.APPROVE):
        return 0
    try:
        return max(float(action_id.removeprefix(blocks.GRANT)), 0.0) if action_id.startswith(blocks.GRANT) else None
    except ValueError:
        return None


def _instead(words: str) -> Payload:
    return {"response_action": "update", "view": modal.refusal_view(words)}
