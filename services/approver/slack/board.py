"""Messages in Slack: post one, find it again, keep it up to date.

chat.postMessage has no key that would make it idempotent. So each message carries its approval's id as metadata, and
whoever does not know whether it was posted looks for it in the channel's history before posting (`questions`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from schemas.approvals import MessageRef
from services.approver.metrics import Metrics
from services.approver.record import Held
from services.approver.slack import blocks
from services.approver.slack.lane import Lanes
from services.approver.slack.limits import TEXT
from services.approver.slack.web import Rejected, SlackTrouble, Unavailable, call

#: `metadata.event_type` of our messages.
METADATA = "countersign_approval"
#: Messages of one history page, and pages that are searched: a busy channel's last few thousand messages.
PAGE, PAGES = 200, 20
#: Seconds by which Slack's clock and ours may differ.
SKEW = 60.0
#: Pages of channels searched for one by its name.
CHANNEL_PAGES = 20


@dataclass
class Board:
    """What hangs in Slack. All methods raise SlackTrouble."""

    web: AsyncWebClient
    lanes: Lanes
    metrics: Metrics

    async def post(self, record: Held, channel: str) -> MessageRef:
        """Post the question. Unavailable means: it may be there all the same."""
        text, shown = blocks.message(record)
        metadata = {"event_type": METADATA, "event_payload": {"approval_id": record.approval_id}}

        async def send() -> Any:
            return await call(
                self.web.chat_postMessage(
                    channel=channel,
                    text=text[:TEXT],
                    blocks=shown,
                    metadata=metadata,
                    unfurl_links=False,
                    unfurl_media=False,
                )
            )

        answer = await self._counted("post", self.lanes.of(channel).run(send))
        try:
            return MessageRef(channel=answer["channel"], ts=answer["ts"])
        except (KeyError, ValueError):
            raise Unavailable("malformed_answer") from None

    async def update(self, record: Held, at: MessageRef, granted_until: datetime | None = None) -> None:
        """Show the approval as it stands, in the message that asked."""
        text, shown = blocks.message(record, granted_until)

        async def send() -> Any:
            return await call(self.web.chat_update(channel=at.channel, ts=at.ts, text=text[:TEXT], blocks=shown))

        await self._counted("update", self.lanes.of(at.channel).run(send))

    async def find(self, approval_id: str, channel: str, since: datetime) -> MessageRef | None:
        """The message of this approval in a channel's history, if it was posted after `since`."""
        channel_id = await self._channel_id(channel)
        oldest, cursor = f"{since.timestamp() - SKEW:.6f}", None
        for _ in range(PAGES):
            page = await call(
                self.web.conversations_history(
                    channel=channel_id, oldest=oldest, limit=PAGE, cursor=cursor, include_all_metadata=True
                )
            )
            for message in page["messages"]:
                if _approval_of(message) == approval_id:
                    return MessageRef(channel=channel_id, ts=message["ts"])
            cursor = _next(page)
            if not cursor:
                return None
        raise Rejected("history_too_long")

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something that only they see."""
        await self._counted("whisper", call(self.web.chat_postEphemeral(channel=channel, user=user, text=text)))

    async def _channel_id(self, channel: str) -> str:
        """`#name` to an id, which is all that conversations.history takes."""
        if not channel.startswith("#"):
            return channel
        cursor = None
        for _ in range(CHANNEL_PAGES):
            page = await call(
                self.web.conversations_list(
                    types="public_channel,private_channel", exclude_archived=True, limit=PAGE, cursor=cursor
                )
            )
            for found in page["channels"]:
                if found["name"] == channel.removeprefix("#"):
                    return str(found["id"])
            cursor = _next(page)
            if not cursor:
                break
        raise Rejected("channel_not_found")

    async def _counted(self, what: str, work: Any) -> Any:
        try:
            answer = await work
        except SlackTrouble as trouble:
            self.metrics.channel_errors.labels("slack", trouble.code).inc()
            raise
        self.metrics.posts.labels("slack", what).inc()
        return answer


def _approval_of(message: dict[str, Any]) -> str | None:
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") != METADATA:
        return None
    payload = metadata.get("event_payload")
    return payload.get("approval_id") if isinstance(payload, dict) else None


def _next(page: Any) -> str | None:
    return (page.get("response_metadata") or {}).get("next_cursor") or None
