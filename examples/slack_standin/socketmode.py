"""Socket Mode: up to ten WebSockets, envelopes to any one of them, acks within three seconds or once more.

Counterpart: slack_sdk.socket_mode. Frames (docs.slack.dev, "Using Socket Mode"):

    ► {"type": "hello", "num_connections": 2, "connection_info": {"app_id": …}, "debug_info": {…}}
    ► {"type": "interactive", "envelope_id": …, "payload": {…}, "accepts_response_payload": true}
    ◄ {"envelope_id": …, "payload": {…}}                                  the ack, its payload optional
    ► {"type": "disconnect", "reason": "warning" | "refresh_requested" | "too_many_websockets"}

Slack documents `retry_attempt` for events; here a click is repeated too, which is the harder case for an app.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from functools import partial
from typing import Literal

from aiohttp import ClientConnectionResetError, WSMsgType, web

from examples.slack_standin.clock import Clock
from examples.slack_standin.delivery import Delivery
from examples.slack_standin.handles import Handles
from examples.slack_standin.limits import Limits
from examples.slack_standin.records import APP_ID, JSON

HEARTBEAT = 10.0  # real seconds between the server's pings
OUTBOX = 1000  # frames waiting for one slow reader; beyond that the connection is cut
FRAME_BYTES = 1 << 20  # the longest ack: a whole modal in response_action "update"

Reason = Literal["warning", "refresh_requested", "too_many_websockets", "link_disabled"]


class Connection:
    """One WebSocket of the app. Frames queue up and are written by `pump`, so that timers can send."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        self.socket = socket
        self.draining = False
        self._transport = transport
        self._outbox: asyncio.Queue[str | None] = asyncio.Queue(OUTBOX)

    def send(self, frame: JSON) -> None:
        self._put(json.dumps(frame))

    def end(self) -> None:
        """Close properly, after what is queued."""
        self._put(None)

    def cut(self) -> None:
        """No closing handshake, as when a cable is pulled."""
        if self._transport is not None:
            self._transport.abort()  # type: ignore[attr-defined]

    async def pump(self) -> None:
        with contextlib.suppress(ClientConnectionResetError, ConnectionError):
            while (frame := await self._outbox.get()) is not None:
                await self.socket.send_str(frame)
            await self.socket.close()

    def _put(self, frame: str | None) -> None:
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.cut()


class SocketMode:
    """All connections of the app, and the envelopes on their way. `stray_acks` counts acks of unknown envelopes."""

    def __init__(self, clock: Clock, handles: Handles, limits: Limits, changed: Callable[[], None]) -> None:
        self.clock = clock
        self.changed = changed
        self.handles = handles
        self.limits = limits
        self.connections: list[Connection] = []
        self.sent: dict[str, Delivery] = {}
        self.stray_acks = 0
        self.carriers: dict[str, Connection] = {}  # who holds each unacked envelope
        self._turn = 0

    # --- connections -------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if not self.handles.redeem_ticket(request.query.get("ticket", "")):
            raise web.HTTPForbidden
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=FRAME_BYTES)
        await socket.prepare(request)
        connection = Connection(socket, request.transport)
        if len(self.connections) >= self.limits.connections:
            connection.send(_disconnect("too_many_websockets"))
            connection.end()
            await connection.pump()
            return socket
        await self._converse(connection)
        return socket

    async def _converse(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.send(_hello(len(self.connections)))
        self.changed()
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(connection.pump())
                await self._listen(connection)
                pump.cancel()
        finally:
            self._gone(connection)

    async def _listen(self, connection: Connection) -> None:
        async for frame in connection.socket:
            if frame.type is WSMsgType.TEXT:
                self._acked(frame.data)

    def _gone(self, connection: Connection) -> None:
        """What it had not acked goes to another connection at once, or waits for its time to run out."""
        self.connections.remove(connection)
        self.changed()
        orphans = [envelope_id for envelope_id, carrier in self.carriers.items() if carrier is connection]
        for envelope_id in orphans:
            if self.connections:
                self._again(self.sent[envelope_id], "connection_failed")

    def disconnect(self, reason: Reason) -> None:
        """Announce the end of every connection, and end it when the time for a replacement has passed."""
        for connection in self.connections:
            connection.draining = True
            connection.send(_disconnect(reason))
            self.clock.call_later(self.limits.drain_seconds, connection.end)

    def cut_all(self) -> None:
        for connection in list(self.connections):
            connection.cut()

    def end_all(self) -> None:
        for connection in list(self.connections):
            connection.end()

    # --- envelopes ---------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """Send to one connection. Without any, it fails at once: Slack shows the person a warning sign."""
        self.sent[delivery.id] = delivery
        if self.connections:
            self._send(delivery, {})
        else:
            delivery.settle("failed", reason="no_connection")

    def redeliver(self, envelope_id: str | None = None) -> Delivery:
        """Send an envelope (default: the latest) once more although it was acked, as after a lost ack.

        Raises LookupError when there is no such envelope or nobody to send it to.
        """
        if not self.sent or not self.connections:
            raise LookupError("no envelope to redeliver, or no connection for it")
        delivery = self.sent[envelope_id or next(reversed(self.sent))]
        self._send(delivery, {"retry_attempt": delivery.attempts, "retry_reason": "timeout"})
        return delivery

    def _send(self, delivery: Delivery, retry: JSON) -> None:
        connection = self._pick()
        delivery.attempts += 1
        connection.send(
            {
                "envelope_id": delivery.id,
                "type": "interactive",
                "payload": delivery.payload,
                "accepts_response_payload": True,
                **retry,
            }
        )
        if delivery.state == "pending":
            self.carriers[delivery.id] = connection
            overdue = partial(self._overdue, delivery, delivery.attempts)
            self.clock.call_later(self.limits.ack_seconds, overdue)

    def _pick(self) -> Connection:
        """Any connection may be chosen; taking turns makes sure that each one is."""
        able = [connection for connection in self.connections if not connection.draining] or self.connections
        self._turn += 1
        return able[self._turn % len(able)]

    def _overdue(self, delivery: Delivery, attempt: int) -> None:
        if delivery.state == "pending" and delivery.attempts == attempt:
            self._again(delivery, "timeout")

    def _again(self, delivery: Delivery, reason: str) -> None:
        self.carriers.pop(delivery.id, None)
        if delivery.attempts > self.limits.redeliveries:
            delivery.settle("failed", reason=reason)
        elif not self.connections:
            delivery.settle("failed", reason="no_connection")
        else:
            self._send(delivery, {"retry_attempt": delivery.attempts, "retry_reason": reason})

    def _acked(self, text: str) -> None:
        try:
            frame = json.loads(text)
            delivery = self.sent[frame["envelope_id"]]
        except (ValueError, KeyError, TypeError):
            self.stray_acks += 1
            return
        self.carriers.pop(delivery.id, None)
        delivery.settle("acked", answer=frame.get("payload"))


def _hello(connections: int) -> JSON:
    return {
        "type": "hello",
        "num_connections": connections,
        "connection_info": {"app_id": APP_ID},
        "debug_info": {"host": "applink-standin", "build_number": 1, "approximate_connection_time": 18060},
    }


def _disconnect(reason: Reason) -> JSON:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-standin"}}
