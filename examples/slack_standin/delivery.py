"""One interaction on its way to the app, whichever way it goes: was it answered, and with what?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from examples.slack_standin.records import JSON

Via = Literal["socket", "http"]


@dataclass(eq=False, slots=True)
class Delivery:
    """`attempts` counts sendings; `answer` is what the app put into its ack; `reason` says why it failed."""

    id: str
    via: Via
    payload: JSON
    then: Callable[["Delivery"], None] = lambda delivery: None
    attempts: int = 0
    state: Literal["pending", "acked", "failed"] = "pending"
    reason: str = ""
    status: int | None = None
    answer: JSON = field(default_factory=dict)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acked(self) -> bool:
        return self.state == "acked"

    def settle(self, state: Literal["acked", "failed"], *, reason: str = "", answer: JSON | None = None) -> None:
        """The first outcome counts; a later ack of the same envelope changes nothing."""
        if self.state != "pending":
            return
        self.state, self.reason, self.answer = state, reason, answer or {}
        self._done.set()
        self.then(self)

    async def settled(self, timeout: float = 90.0) -> "Delivery":
        """Wait (real seconds) for the outcome. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._done.wait()
        return self
