"""What a workspace is made of, and how each part looks in Slack's JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from examples.slack_standin.mrkdwn import code_blocks, mrkdwn_texts, references

TEAM_ID = "T0STANDIN"
TEAM_NAME = "standin"
APP_ID = "A0STANDIN"
BOT_ID = "B0STANDIN"

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class User:
    """A member. Another `team_id` makes a Slack Connect stranger, whose e-mail says nothing about your people."""

    id: str
    name: str
    email: str | None = None
    real_name: str = ""
    is_bot: bool = False
    deleted: bool = False
    is_email_confirmed: bool = True
    is_restricted: bool = False
    team_id: str = TEAM_ID

    def as_json(self) -> JSON:
        real_name = self.real_name or self.name
        profile = {"real_name": real_name, "display_name": self.name, "team": self.team_id}
        if self.email is not None:
            profile["email"] = self.email
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "real_name": real_name,
            "deleted": self.deleted,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "is_email_confirmed": self.is_email_confirmed,
            "is_restricted": self.is_restricted,
            "is_stranger": self.team_id != TEAM_ID,
            "tz": "Etc/UTC",
            "tz_offset": 0,
            "profile": profile,
        }


@dataclass(frozen=True, slots=True)
class Channel:
    """A conversation. `members` None means everybody; `has_bot` False means the app was never invited."""

    id: str
    name: str
    is_private: bool = False
    is_archived: bool = False
    has_bot: bool = True
    members: frozenset[str] | None = None
    im_with: str | None = None  # the other side of a direct message

    def seen_by(self, user_id: str) -> bool:
        return self.members is None or user_id in self.members

    def as_json(self) -> JSON:
        if self.im_with is not None:
            return {"id": self.id, "is_im": True, "user": self.im_with, "is_archived": False}
        return {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": not self.is_private,
            "is_group": self.is_private,
            "is_im": False,
            "is_mpim": False,
            "is_private": self.is_private,
            "is_archived": self.is_archived,
            "is_member": self.has_bot,
            "num_members": len(self.members or ()),
        }


@dataclass(frozen=True, slots=True)
class Revision:
    """What a message said from `at` on, in epoch seconds."""

    at: float
    text: str
    blocks: tuple[JSON, ...]


@dataclass(slots=True)
class Message:
    """A message as it stands, with everything it said before in `history` (oldest first, the current one last)."""

    channel: str
    ts: str
    user: str
    history: list[Revision]
    thread_ts: str | None = None
    metadata: JSON | None = None
    files: list[str] = field(default_factory=list)
    deleted: bool = False
    by_bot: bool = True

    @property
    def text(self) -> str:
        return self.history[-1].text

    @property
    def blocks(self) -> tuple[JSON, ...]:
        return self.history[-1].blocks

    @property
    def edits(self) -> int:
        return len(self.history) - 1

    @property
    def code_blocks(self) -> list[str]:
        """What stands in code blocks, as a reader sees it."""
        return [block for text in self._mrkdwn() for block in code_blocks(text)]

    @property
    def references(self) -> list[str]:
        """Live mentions and links: `!channel` here means that everybody was called."""
        return [reference for text in self._mrkdwn() for reference in references(text)]

    def _mrkdwn(self) -> list[str]:
        return list(mrkdwn_texts(self.blocks)) if self.blocks else [self.text]

    def as_json(self, *, metadata: bool = False) -> JSON:
        shown: JSON = {"type": "message", "user": self.user, "ts": self.ts, "text": self.text, "team": TEAM_ID}
        if self.by_bot:
            shown |= {"bot_id": BOT_ID, "app_id": APP_ID}
        if self.blocks:
            shown["blocks"] = list(self.blocks)
        if self.thread_ts:
            shown["thread_ts"] = self.thread_ts
        if self.files:
            shown["files"] = [{"id": file_id} for file_id in self.files]
        if self.edits and not self.blocks:  # Slack shows "edited" only on messages without blocks
            shown["edited"] = {"user": self.user, "ts": f"{self.history[-1].at:.6f}"}
        if metadata and self.metadata:
            shown["metadata"] = self.metadata
        return shown


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """Something only `user` sees, and only once: Slack offers no way to read or change it later."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: tuple[JSON, ...] = ()
    thread_ts: str | None = None


@dataclass(slots=True)
class View:
    """A modal in front of `user`: `open` until it is submitted, cleared or closed; `errors` by block_id.

    `root` is the lowest form of the stack that it was pushed on, `below` the one right under it.
    """

    id: str
    user: str
    body: JSON
    hash: str
    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)
    root: str = ""
    below: str = ""

    @property
    def blocks(self) -> list[JSON]:
        return list(self.body["blocks"])

    def as_json(self, values: JSON | None = None) -> JSON:
        optional = dict.fromkeys(("close", "submit"))
        return {
            **optional,
            "private_metadata": "",
            "callback_id": "",
            "external_id": "",
            "clear_on_close": False,
            "notify_on_close": False,
            **self.body,
            "id": self.id,
            "team_id": TEAM_ID,
            "app_id": APP_ID,
            "bot_id": BOT_ID,
            "app_installed_team_id": TEAM_ID,
            "root_view_id": self.root or self.id,
            "previous_view_id": self.below or None,
            "hash": self.hash,
            "state": {"values": values or {}},
        }


@dataclass(slots=True)
class File:
    """An upload: announced with its size, then filled, then completed (shared into `channels`)."""

    id: str
    name: str
    size: int
    content: bytes | None = None
    title: str = ""
    channels: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return (self.content or b"").decode()

    def as_json(self, base_url: str) -> JSON:
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "size": self.size,
            "mimetype": "text/plain",
            "mode": "snippet",
            "channels": self.channels,
            "url_private": f"{base_url}files/{self.id}",
            "permalink": f"{base_url}files/{self.id}",
        }


def plain(record: Any) -> JSON:
    """Any record of this module as plain JSON, for the control surface and the page."""
    shown = asdict(record)
    for name in ("text", "blocks", "edits"):
        shown.setdefault(name, getattr(record, name, None))
    return shown
