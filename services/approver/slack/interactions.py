"""Clicks and forms to decisions: who clicked, may they, then the desk; and what they get to see.

The answer to Slack is given after the decision is stored, within Slack's three seconds (`handle`); whoever is refused
is told why, in private, after that. Counterparts: `socket` and `interactivity` carry the payloads, both verified.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from schemas.approvals import Reviewer
from services.approver.desk import Desk
from services.approver.pending import Approve, Deny, Refusal
from services.approver.slack import blocks, modal
from services.approver.slack.board import Board
from services.approver.slack.limits import WORK
from services.approver.slack.people import People, Stranger
from services.approver.slack.text import line
from services.approver.slack.web import SlackTrouble, call
from services.approver.store import StoreUnavailable

log = structlog.get_logger(__name__)

Payload = dict[str, Any]
#: Longest approval id that is looked up; what is longer is not ours.
MAX_ID = 36
#: Characters of an explanation.
MAX_WORDS = 1000


class NotHandled(Exception):
    """Nothing can be said about the click now: it must not be acked, so that Slack sends it again or says so."""


@dataclass(frozen=True)
class Interactions:
    """What people do in Slack."""

    desk: Desk
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
                    await self._clicked(payload, str(action.get("action_id")), str(action.get("value"))[:MAX_ID])
            case "view_submission" if payload["view"].get("callback_id") == modal.CALLBACK:
                return await self._submitted(payload)
        return {}

    async def _clicked(self, payload: Payload, action_id: str, approval_id: str) -> None:
        seconds = _grant_of(action_id)
        if action_id != blocks.DENY and seconds is None:
            return
        reviewer = await self.people.reviewer(payload["user"]["id"])
        if isinstance(reviewer, Stranger):
            self._explain(payload, reviewer.words)
        elif action_id == blocks.DENY:
            await self._open_form(payload, approval_id, reviewer)
        else:
            result = await self.desk.decide(approval_id, Approve(reviewer, seconds or 0))
            if isinstance(result, Refusal):
                self._explain(payload, result.words)

    async def _open_form(self, payload: Payload, approval_id: str, reviewer: Reviewer) -> None:
        record = await self.desk.preview(approval_id, Deny(reviewer))
        if isinstance(record, Refusal):
            self._explain(payload, record.words)
            return
        await call(self.web.views_open(trigger_id=payload["trigger_id"], view=modal.deny_form(record)))

    async def _submitted(self, payload: Payload) -> Payload:
        reviewer = await self.people.reviewer(payload["user"]["id"])
        if isinstance(reviewer, Stranger):
            return _instead(reviewer.words)
        view = payload["view"]
        approval_id = str(view.get("private_metadata"))[:MAX_ID]
        result = await self.desk.decide(approval_id, Deny(reviewer, modal.reason_of(view)))
        return _instead(result.words) if isinstance(result, Refusal) else {}

    def _explain(self, payload: Payload, words: str) -> None:
        """In private, after the ack: Slack's three seconds are for the decision."""
        channel = str(payload.get("container", {}).get("channel_id") or payload.get("channel", {}).get("id") or "")
        user = str(payload["user"]["id"])
        self.desk.tasks.start(self._whisper(channel, user, line(words, MAX_WORDS)), "whisper")

    async def _whisper(self, channel: str, user: str, words: str) -> None:
        try:
            await self.board.whisper(channel, user, words)
        except SlackTrouble as trouble:
            log.warning("a person was not told why", error=trouble.code, words=words)


def _grant_of(action_id: str) -> float | None:
    """Seconds of grant that a button stands for, 0 for once; None when it is not one of ours."""
    if action_id == blocks.APPROVE:
        return 0
    try:
        return max(float(action_id.removeprefix(blocks.GRANT)), 0.0) if action_id.startswith(blocks.GRANT) else None
    except ValueError:
        return None


def _instead(words: str) -> Payload:
    return {"response_action": "update", "view": modal.refusal_view(words)}
