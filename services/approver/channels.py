"""Where people are asked. Slack is one channel; another is one module that offers this.

A channel listens to the bus itself (`subscribe`): JetStream is its outbox, with a durable consumer of its own, so that
one channel's outage delays neither the others nor the command line. Its clicks go to `desk.Desk.decide`.
"""

from typing import Protocol

from aiohttp import web
from faststream.nats import NatsBroker

from services.approver.record import Held


class Channel(Protocol):
    """One way to reach people. The bucket's entry is the truth; a channel shows it and never keeps it."""

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
        """Show progress: somebody approved and others are still needed. Best effort."""
