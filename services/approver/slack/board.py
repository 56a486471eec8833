"""Messages in Slack: post one, find it again, keep it up to date.

chat.postMessage has no key that would make it idempotent. So each message says in its metadata which part of which
sheet it is, and whoever does not know whether it was posted looks for it before posting (`courier`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from services.approver.metrics import Metrics
from services.approver.slack.rendering import Page
from services.approver.slack.web import Rejected, SlackTrouble, Unavailable, call

#: `metadata.event_type` of our messages.
METADATA = "countersign_approval"
#: Messages of one history page, and pages that are searched: a busy channel's last few thousand messages.
PAGE, PAGES = 200, 20
#: Seconds by which Slack's clock and ours may differ.
SKEW = 60.0
#: Pages of channels searched for one by its name.
CHANNEL_PAGES = 20


@dataclass(frozen=True)
class Place:
    """Where a message goes: a channel by id or `#name`, and the `ts` of the message that it replies to."""

    channel: str
    thread: str = ""


@dataclass
class Board:
    """What hangs in Slack. All methods raise SlackTrouble."""

    web: AsyncWebClient
    metrics: Metrics
    _channels: dict[str, str] = field(default_factory=dict)

    async def post(self, sheet_id: str, page: Page, place: Place) -> tuple[str, str]:
        """Channel id and `ts` of the new message. Unavailable means: it may be there all the same."""
        metadata = {"event_type": METADATA, "event_payload": {"sheet_id": sheet_id, "part": page.part}}
        answer = await self._counted(
            page.part.partition(".")[0],
            call(
                self.web.chat_postMessage(
                    channel=place.channel,
                    text=page.text,
                    blocks=page.blocks,
                    metadata=metadata,
                    thread_ts=place.thread or None,
                    unfurl_links=False,
                    unfurl_media=False,
                )
            ),
        )
        try:
            return str(answer["channel"]), str(answer["ts"])
        except KeyError:
            raise Unavailable("malformed_answer") from None

    async def update(self, page: Page, channel: str, ts: str) -> None:
        """Have a message say something else. To repeat it does no harm."""
        await self._counted(
            "update", call(self.web.chat_update(channel=channel, ts=ts, text=page.text, blocks=page.blocks))
        )

    async def find(self, sheet_id: str, part: str, place: Place, since: datetime) -> tuple[str, str] | None:
        """Channel id and `ts` of that part of the sheet, if it was posted there after `since`."""
        channel = await self._channel_id(place.channel)
        async for message in self._messages(channel, place.thread, f"{since.timestamp() - SKEW:.6f}"):
            if _is(message, sheet_id, part):
                return channel, str(message["ts"])
        return None

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something that only they see."""
        await self._counted("whisper", call(self.web.chat_postEphemeral(channel=channel, user=user, text=text)))

    async def direct(self, user: str) -> str:
        """The channel of direct messages with this person."""
        return str((await call(self.web.conversations_open(users=user)))["channel"]["id"])

    async def _messages(self, channel: str, thread: str, oldest: str) -> AsyncIterator[dict[str, Any]]:
        def page(cursor: str | None) -> Awaitable[Any]:
            options: dict[str, Any] = {"oldest": oldest, "limit": PAGE, "cursor": cursor, "include_all_metadata": True}
            if thread:
                return self.web.conversations_replies(channel=channel, ts=thread, **options)
            return self.web.conversations_history(channel=channel, **options)

        async for found in _pages(page, PAGES):
            for message in found["messages"]:
                yield message

    async def _channel_id(self, channel: str) -> str:
        """`#name` to an id, which is all that conversations.history takes."""
        if not channel.startswith("#"):
            return channel
        if channel not in self._channels:
            self._channels[channel] = await self._look_up(channel.removeprefix("#"))
        return self._channels[channel]

    async def _look_up(self, name: str) -> str:
        def page(cursor: str | None) -> Awaitable[Any]:
            return self.web.conversations_list(
                types="public_channel,private_channel", exclude_archived=True, limit=PAGE, cursor=cursor
            )

        async for found in _pages(page, CHANNEL_PAGES):
            for channel in found["channels"]:
                if channel["name"] == name:
                    return str(channel["id"])
        raise Rejected("channel_not_found")

    async def _counted(self, what: str, work: Awaitable[Any]) -> Any:
        try:
            answer = await work
        except SlackTrouble as trouble:
            self.metrics.channel_errors.labels("slack", trouble.code).inc()
            raise
        self.metrics.posts.labels("slack", what).inc()
        return answer


async def _pages(page: Callable[[str | None], Awaitable[Any]], most: int) -> AsyncIterator[Any]:
    """All pages of a listing. Raises Rejected when there are more than can be searched."""
    cursor: str | None = None
    for _ in range(most):
        found = await call(page(cursor))
        yield found
        cursor = (found.get("response_metadata") or {}).get("next_cursor") or None
        if cursor is None:
            return
    raise Rejected("too_many_pages")


def _is(message: dict[str, Any], sheet_id: str, part: str) -> bool:
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload")
    return metadata.get("event_type") == METADATA and payload == {"sheet_id": sheet_id, "part": part}
