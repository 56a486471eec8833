"""Publish events: attempts whose ack is awaited, everything else through an outbox that never loses one.

Every event of this process gets the next `ingress_seq`. When the outbox is full, `check` refuses new work: if
recording fails, traffic stops (G2, G10).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

import orjson
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from schemas import subjects
from schemas.base import new_id
from schemas.events import Event, SessionFrame
from services.ingress.errors import NotDecided, not_decided

log = structlog.get_logger(__name__)

#: Seconds to wait for the ack of an outbox event before it is sent again with the same Nats-Msg-Id.
ACK_TIMEOUT = 2.0
#: Events of the outbox that may be on their way at once.
IN_FLIGHT = 256


class NotStored(Exception):
    """JetStream did not take the event; the message is its reason."""


@dataclass(slots=True)
class _Waiting:
    """An event of the outbox; `reply` and `timer` while it is in flight."""

    subject: str
    payload: bytes
    event_id: str
    reply: str = ""
    timer: asyncio.TimerHandle | None = None


class Emitter:
    """The only publisher of this ingress. One inbox receives all acks."""

    def __init__(self, client: Client, ingress: str, outbox: int, *, traced: bool = False) -> None:
        """`traced` puts the event's `traceparent` into a header, where OpenTelemetry's middleware looks for it."""
        self.ingress = ingress
        self._traced = traced
        self._client = client
        self._limit = outbox
        self._sequence = count(1)
        self._inbox = client.new_inbox()
        self._numbers = count(1)
        self._acks: dict[str, Callable[[str | None], None]] = {}
        self._outbox: deque[_Waiting] = deque()
        self._in_flight: set[str] = set()  # event ids
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()

    async def start(self) -> None:
        """Listen for acks."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_ack)

    @property
    def backlog(self) -> int:
        """Events published or waiting, and not yet acked."""
        return len(self._outbox) + len(self._in_flight)

    @property
    def full(self) -> bool:
        """Whether nothing that can be left out may be added."""
        return self.backlog >= self._limit

    def next_sequence(self) -> int:
        """The `ingress_seq` of the next event; take it only for an event that is emitted."""
        return next(self._sequence)

    def check(self) -> None:
        """Raise NotDecided when events cannot be recorded at the moment."""
        if not self._client.is_connected:
            raise not_decided("the gateway has lost its event bus; nothing was forwarded")
        if self.full:
            raise not_decided("the gateway cannot record events fast enough; nothing was forwarded")

    async def publish(self, event: Event, on_ack: Callable[[str | None], None]) -> None:
        """Publish once, now; `on_ack` gets None when JetStream stored it, else the reason. Raises NotStored."""
        if not self._client.is_connected:  # nats-py would keep it, and send it after the agent was told 503
            raise NotStored("not connected")
        reply = self._expect(on_ack)
        try:
            headers = {"traceparent": event.traceparent} if self._traced else None
            payload = event.to_json()
            await self._client.publish(subjects.of(event), payload, reply=reply, headers=headers)
        except (NatsError, OSError) as error:
            self.forget(reply)
            raise NotStored(str(error)) from error

    def later(self, event: Event) -> None:
        """Publish in order, again until it is acked. Never waits, never fails: `check` guards the limit."""
        payload = event.to_json()
        self._outbox.append(_Waiting(subjects.of(event), payload, event.event_id))
        self._wake.set()

    async def frame(self, frame: SessionFrame) -> None:
        """Publish a frame; RECORDING stores it. A frame that cannot be sent is missing from its session's `seq`."""
        if not self._client.is_connected:
            return
        self._wake.set()  # the outbox before nats-py's flusher: the outcome that mostly follows goes in the same write
        try:
            await self._client.publish(subjects.of(frame), frame.to_json())
        except (NatsError, OSError) as error:
            log.warning("frame not sent", error=str(error), session_id=frame.session_id)

    async def run(self) -> None:
        """Send the outbox, forever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox and len(self._in_flight) < IN_FLIGHT:
                await self._send(self._outbox.popleft())

    async def flush(self, timeout: float) -> bool:
        """Wait until everything is acked; True when it is."""
        if self.backlog:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._empty.wait()
        return not self.backlog

    def forget(self, reply: str) -> None:
        """No longer wait for an ack."""
        self._acks.pop(reply, None)

    async def _send(self, waiting: _Waiting) -> None:
        """Publish one event of the outbox; what fails or times out goes back to the front."""
        self._in_flight.add(waiting.event_id)
        settle = partial(self._settle, waiting)
        waiting.reply = self._expect(settle)
        waiting.timer = asyncio.get_running_loop().call_later(ACK_TIMEOUT, settle, "no ack in time")
        try:
            await self._client.publish(
                waiting.subject, waiting.payload, reply=waiting.reply, headers={"Nats-Msg-Id": waiting.event_id}
            )
        except (NatsError, OSError) as error:
            settle(str(error) or type(error).__name__)

    def _settle(self, waiting: _Waiting, problem: str | None) -> None:
        if waiting.timer is None:  # it was late, and then failed as well
            return
        self.forget(waiting.reply)
        waiting.timer.cancel()
        waiting.timer = None
        if problem is not None:  # it stays in flight until it is back in the outbox: the backlog never forgets it
            log.warning("event not stored yet", problem=problem, subject=waiting.subject)
            asyncio.get_running_loop().call_later(0.2, self._again, waiting)
            return
        self._in_flight.discard(waiting.event_id)
        if self._outbox:
            self._wake.set()
        elif not self._in_flight:
            self._empty.set()

    def _again(self, waiting: _Waiting) -> None:
        self._in_flight.discard(waiting.event_id)
        self._outbox.appendleft(waiting)
        self._wake.set()

    def _expect(self, on_ack: Callable[[str | None], None]) -> str:
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._acks[reply] = on_ack
        return reply

    async def _on_ack(self, message: Msg) -> None:
        if on_ack := self._acks.pop(message.subject, None):
            on_ack(problem_in(message))


def problem_in(ack: Msg) -> str | None:
    """None for a JetStream PubAck, else why the event was not stored (no stream, stream full, …)."""
    if not ack.data:
        status = (ack.headers or {}).get("Status", "")
        return "no stream captures this subject" if status == "503" else "empty ack"
    try:
        body = orjson.loads(ack.data)
    except ValueError:
        return "malformed ack"
    if not isinstance(body, dict):
        return "malformed ack"
    if error := body.get("error"):
        return str(error.get("description", "refused"))
    return None if body.get("stream") == subjects.AUDIT_STREAM and body.get("seq") else "malformed ack"


def new_ingress_id() -> str:
    """An id for this process, a valid subject token."""
    return f"i-{new_id()}"


__all__ = ["Emitter", "NotDecided", "NotStored", "new_ingress_id", "problem_in"]
