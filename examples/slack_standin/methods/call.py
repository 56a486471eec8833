"""One call of a Web API method: its arguments, read as Slack reads them, and where it acts."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from examples.slack_standin.blockkit import MESSAGE_TEXT, message_complaints, text_length, with_ids
from examples.slack_standin.errors import SlackError
from examples.slack_standin.limits import Limits
from examples.slack_standin.records import JSON, Channel, User
from examples.slack_standin.workspace import Workspace

if TYPE_CHECKING:
    from examples.slack_standin.handles import Handles


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments arrive as JSON or as a form; a form carries structured ones as JSON text."""

    arguments: JSON
    workspace: Workspace
    limits: Limits
    handles: "Handles"
    base_url: str
    archive_url: str

    def text(self, name: str, default: str = "") -> str:
        value = self.arguments.get(name)
        return default if value is None else str(value)

    def required(self, name: str, error: str = "invalid_arguments") -> str:
        """A string argument that must be there; without it the call fails with `error`."""
        value = self.text(name)
        if not value:
            raise SlackError(error, [f"[ERROR] missing required field: {name}"])
        return value

    def structured(self, name: str, error: str = "invalid_arguments") -> Any:
        """An argument that is JSON, or JSON text; None when absent. Raises SlackError(error) when it is not JSON."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise SlackError(error) from None

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true")

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.text(name, str(default)))
        except ValueError:
            raise SlackError("invalid_arguments", [f"[ERROR] must be an integer [json-pointer:/{name}]"]) from None

    def channel(self) -> Channel:
        """The channel named by the call, where the app is a member. Only ids: names are for chat.postMessage."""
        channel = self.workspace.channels.get(self.required("channel", "channel_not_found"))
        if channel is None:
            raise SlackError("channel_not_found")
        return self.writable(channel)

    def writable(self, channel: Channel) -> Channel:
        if not channel.has_bot:
            # A private channel that the app was not invited to does not exist for it.
            raise SlackError("channel_not_found" if channel.is_private else "not_in_channel")
        if channel.is_archived:
            raise SlackError("is_archived")
        return channel

    def user(self) -> User:
        user = self.workspace.users.get(self.required("user", "user_not_found"))
        if user is None:
            raise SlackError("user_not_found")
        return user

    def blocks(self) -> list[JSON] | None:
        """The blocks of a message, validated and with every id filled in; None when there are none."""
        blocks = self.structured("blocks", "invalid_blocks_format")
        if blocks is None:
            return None
        if not isinstance(blocks, list):
            raise SlackError("invalid_blocks_format")
        self._validate(blocks)
        return with_ids(blocks, self.workspace.block_names())

    def _validate(self, blocks: list[JSON]) -> None:
        if not self.limits.block_kit:
            return
        if complaints := message_complaints(blocks):
            raise SlackError("invalid_blocks", complaints)
        if text_length(blocks) > MESSAGE_TEXT:
            raise SlackError("msg_blocks_too_long")
