"""Messages of a durable consumer, a batch for each request (NATS ADR-13). Counterpart: intake.py, JetStream.

nats-py's own `fetch` starts a task and a timer for every message, and asks again for each handful; at thousands of
messages a second that is most of what taking them costs. Here a batch is one request, and a message is a list's append:

    request {batch, max_bytes, expires} ─► messages … ─► enough, or a status (408 expired, 409 too large, 404, 503)
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from services.recorder.batch import MAX_BATCH_BYTES

#: Bytes the client holds for us: what one request brings, and what is left of one that we no longer wait for.
_PENDING_BYTES: Final = 2 * MAX_BATCH_BYTES
#: Seconds that JetStream gets, after a request has expired, to say so. Then it is away.
_GRACE: Final = 2.0


class Puller:
    """Stands where FastStream's subscriber expects a pull subscription of nats-py."""

    def __init__(self, client: Client, stream: str, durable: str, *, rows: int, age: float) -> None:
        """A batch is complete with `rows` messages, or after `age` seconds."""
        self.age = age
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._rows = rows
        self._inbox = client.new_inbox()
        self._subscription: Any = None
        self._requests = 0
        self._reply = ""
        self._came: list[Msg] = []
        self._complete = asyncio.Event()

    async def start(self) -> None:
        """Hear what the consumer will send us."""
        self._subscription = await self._client.subscribe(
            f"{self._inbox}.*",
            cb=self._take,
            pending_msgs_limit=2 * self._rows,
            pending_bytes_limit=_PENDING_BYTES,
        )

    async def fetch(self, batch: int, timeout: float) -> list[Msg]:
        """The next batch; `age` counts, not FastStream's `timeout`. Raises nats.errors.TimeoutError where none came."""
        if batch < self._rows:
            raise NatsTimeoutError  # FastStream asks for the rest of a batch until its time is up: this was all of it
        until = asyncio.get_running_loop().time() + self.age
        with suppress(TimeoutError, NatsError):
            await self._request()
            async with asyncio.timeout_at(until + _GRACE):
                await self._complete.wait()
        if not self._came:
            # Refused, not expired: the consumer is gone, or JetStream has no leader. Not to be asked in a hurry.
            await asyncio.sleep(until - asyncio.get_running_loop().time())
            raise NatsTimeoutError
        came, self._came = self._came, []
        return came

    async def unsubscribe(self) -> None:
        """End it; a connection that is closed already has done so."""
        with suppress(ConnectionClosedError):
            await self._subscription.unsubscribe()

    async def _request(self) -> None:
        """Ask for what is missing; what came late for an earlier request counts."""
        self._complete.clear()
        if len(self._came) >= self._rows:
            self._complete.set()
            return
        self._requests += 1
        self._reply = f"{self._inbox}.{self._requests}"
        wanted = {
            "batch": self._rows - len(self._came),
            "max_bytes": MAX_BATCH_BYTES,
            "expires": int(self.age * 1_000_000_000),
        }
        await self._client.publish(self._subject, orjson.dumps(wanted), reply=self._reply)

    async def _take(self, message: Msg) -> None:
        """A message of the stream has its own subject; a status has that of the request it ends."""
        if not message.subject.startswith(self._inbox):
            self._came.append(message)
        if len(self._came) >= self._rows or message.subject == self._reply:
            self._complete.set()
