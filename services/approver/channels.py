"""Where people are asked. Slack is one channel; another is one module that offers this.

A channel listens to the bus itself (`subscribe`): JetStream is its outbox, with a durable consumer of its own, so that
one channel's outage delays neither the others nor the command line. Its clicks go to `desk.Desk.decide`.
"""

from typing import Protocol

from aiohttp import web
from faststream.nats import NatsBroker

from schemas.approvals import Notice
from services.approver.record import Held


class ChannelTrouble(Exception):
    """The channel did not take it; it is tried again. Channels derive their own errors from it."""


class Channel(Protocol):
    """One way to reach people. The bucket's entry is the truth; a channel shows it and never keeps it.

    Where it shows a question stands in `Held.messages[name]` (`Held.noting`), written by compare-and-set.
    """

    name: str

    def subscribe(self, broker: NatsBroker) -> None:
        """Register its consumers, before the broker starts."""

    def serve(self, app: web.Application) -> None:
        """Add what it serves to the approver's listener, before it listens."""

    async def start(self) -> None:
        """Begin to hear people. Returns at once, even while the channel is away."""

    async def stop(self) -> None:
        """Stop hearing people."""

    def check(self) -> bool | str:
        """Whether people's answers can arrive, or what is in the way."""

    async def refresh(self, record: Held) -> None:
        """Show an open question as it stands: somebody approved, or the blast radius came late. Best effort."""

    async def tell(self, record: Held, notice: Notice) -> None:
        """Call people: a reminder is due, it was escalated, or glass was broken. Raises ChannelTrouble.

        One copy at a time calls this, and again after a failure or a crash: at least once. The record may be settled.
        """
