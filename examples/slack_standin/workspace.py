"""Everything the stand-in remembers, and the bell that rings when any of it changes.

Counterparts: methods/ write here on the app's behalf, people.py on a person's; tests and the page read.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from examples.slack_standin.clock import Clock
from examples.slack_standin.errors import NotOnScreen, SlackError
from examples.slack_standin.records import JSON, Channel, Ephemeral, File, Message, Revision, User, View

T = TypeVar("T")


class Workspace:
    """Users, channels, messages, modals and files of one Slack workspace with one installed app.

    Nothing is ever forgotten: a stand-in lives as long as one test or one demo.
    """

    def __init__(self, clock: Clock, users: list[User], channels: list[Channel], bot: User) -> None:
        self.clock = clock
        self.bot = bot
        self.users = {user.id: user for user in [*users, bot]}
        self.channels = {channel.id: channel for channel in channels}
        self.log: list[Message] = []
        self.ephemerals: list[Ephemeral] = []
        self.views: dict[str, View] = {}
        self.files: dict[str, File] = {}
        self.revision = 0
        self._names = itertools.count(1)
        self._last_ts = 0
        self._waiting: set[asyncio.Event] = set()

    # --- names and times -------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._names):08X}"

    def block_names(self) -> Iterator[str]:
        while True:
            yield self.new_id("b")

    def new_ts(self) -> str:
        """A message's time and name in one, never given twice: seconds and six digits."""
        self._last_ts = max(self._last_ts + 1, int(self.clock.now() * 1_000_000))
        seconds, micros = divmod(self._last_ts, 1_000_000)
        return f"{seconds}.{micros:06d}"

    # --- change and waiting for it ---------------------------------------------------------------------------

    def changed(self) -> None:
        self.revision += 1
        for bell in self._waiting:
            bell.set()

    async def wait_for(self, look: Callable[[], T | None], timeout: float) -> T:
        """The first answer of `look` that is not None, asked anew after each change. Raises TimeoutError."""
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            async with asyncio.timeout(timeout):
                while (found := look()) is None:
                    await bell.wait()
                    bell.clear()
                return found
        finally:
            self._waiting.discard(bell)

    # --- finding -----------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> User:
        """By id, or by name, for a person's convenience. Raises KeyError."""
        if user_id in self.users:
            return self.users[user_id]
        return next((user for user in self.users.values() if user.name == user_id), None) or self.users[user_id]

    def channel(self, name: str) -> Channel:
        """By id, `#name` or name. Raises SlackError channel_not_found."""
        if name in self.channels:
            return self.channels[name]
        bare = name.removeprefix("#")
        for channel in self.channels.values():
            if channel.name == bare and channel.im_with is None:
                return channel
        raise SlackError("channel_not_found")

    def direct_channel(self, user: User) -> Channel:
        """The direct message between the app and `user`, opened if need be."""
        channel = Channel(f"D{user.id[1:]}", f"dm-{user.name}", members=frozenset({user.id}), im_with=user.id)
        return self.channels.setdefault(channel.id, channel)

    def messages(self, channel: str) -> list[Message]:
        """What stands in a channel now, oldest first, threads included."""
        channel_id = self.channel(channel).id
        return [message for message in self.log if message.channel == channel_id and not message.deleted]

    def message(self, ts: str, channel: str | None = None) -> Message | None:
        candidates = self.log if channel is None else self.messages(channel)
        return next((message for message in candidates if message.ts == ts and not message.deleted), None)

    def view_of(self, user: User, view_id: str) -> View:
        """An open modal in front of `user`. Raises NotOnScreen."""
        view = self.views.get(view_id)
        if view is None or not view.open or view.user != user.id:
            raise NotOnScreen(f"{user.name} has no open view {view_id}")
        return view

    # --- writing -----------------------------------------------------------------------------------------------

    def post(
        self,
        channel: Channel,
        text: str,
        blocks: list[JSON],
        *,
        thread_ts: str | None = None,
        metadata: JSON | None = None,
        files: list[str] | None = None,
        author: User | None = None,
    ) -> Message:
        ts = self.new_ts()
        writer = author or self.bot
        first = Revision(self.clock.now(), text, tuple(blocks))
        message = Message(channel.id, ts, writer.id, [first], thread_ts, metadata, files or [], by_bot=writer.is_bot)
        self.log.append(message)
        self.changed()
        return message

    def edit(self, message: Message, text: str, blocks: list[JSON]) -> None:
        message.history.append(Revision(self.clock.now(), text, tuple(blocks)))
        self.changed()

    def delete(self, message: Message) -> None:
        message.deleted = True
        self.changed()

    def whisper(
        self, channel: str, user: str, text: str, blocks: list[JSON], thread_ts: str | None = None
    ) -> Ephemeral:
        ephemeral = Ephemeral(channel, self.new_ts(), user, text, tuple(blocks), thread_ts)
        self.ephemerals.append(ephemeral)
        self.changed()
        return ephemeral

    def show(self, view: View) -> View:
        self.views[view.id] = view
        self.changed()
        return view

    def redraw(self, view: View, body: JSON) -> None:
        view.body, view.hash, view.errors = body, self.new_ts(), {}
        self.changed()

    def close(self, view: View) -> None:
        view.open = False
        self.changed()

    def change_user(self, user_id: str, **changes: object) -> User:
        """Deactivate somebody, change an address: `change_user("U1", deleted=True)`."""
        changed = replace(self.user(user_id), **changes)  # type: ignore[arg-type]
        self.users[changed.id] = changed
        self.changed()
        return changed
