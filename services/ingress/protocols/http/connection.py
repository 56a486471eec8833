"""aiohttp's server protocol with our limits: one instance per connection, one `Session` of the record.

What aiohttp leaves open is closed here: a head that trickles in (slow loris), heads that are too large in sum, an agent
that does not read what it asked for, and connections without number. Requests that the parser refuses are answered in
problem+json and recorded before the connection is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from schemas.events import Outcome
from services.ingress.channel import keep_alive
from services.ingress.errors import AgentError, GatewayError
from services.ingress.metrics import Metrics
from services.ingress.protocols.http import replies
from services.ingress.protocols.http.target import MAX_TARGET
from services.ingress.refusals import Refusals
from services.ingress.story import Session
from services.runtime.settings.model import Limits

#: Seconds that requests which are cut off at the end have to tell what became of them.
CUT = 2.0

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OpenSession = Callable[[str, bool], Session]


class Connection(RequestHandler):
    """One agent's connection."""

    __slots__ = (
        "_front",
        "_head_bytes",
        "_head_timer",
        "_limits",
        "_metrics",
        "_open_session",
        "_refusals",
        "_stall_timer",
        "_stalled",
        "_unsent",
        "patience",
        "session",
    )

    def __init__(self, server: "Server", **options: Any) -> None:
        super().__init__(server, **options)
        self._limits, self._metrics, self._refusals = server.limits, server.metrics, server.refusals
        self._open_session = server.open_session
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._stalled = False
        self._unsent = 0
        self._front = server
        #: Seconds for which the agent may read nothing while something is to be sent to it.
        self.patience = self._limits.request_idle
        self.session: Session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A session begins; the first request's head is due."""
        peer = transport.get_extra_info("peername") or ("", 0)
        self.session = self._open_session(f"{peer[0]}:{peer[1]}", transport.get_extra_info("sslcontext") is not None)
        self._metrics.sessions.labels("http").inc()
        super().connection_made(transport)
        if (connected := transport.get_extra_info("socket")) is not None:
            keep_alive(connected)
        if self._front.admits(self):
            self._arm()
        else:
            self.turn_away()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The session ends; a handler that still runs is cancelled."""
        self._disarm()
        self._reads_again()
        self._front.left(self)
        self._metrics.sessions.labels("http").dec()
        super().connection_lost(exc)
        self.session.close("" if exc is None else type(exc).__name__)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to an unfinished head; a finished one disarms the timer."""
        before = self._request_count
        idle = self._waiter is not None and not self._waiter.done()
        if idle and self._head_timer is None:
            self._arm()
        super().data_received(data)
        if self._request_count != before:
            self._head_bytes = 0
            self._disarm()
        elif idle and not self._upgraded:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.headers + MAX_TARGET:
                self._refuse(AgentError(431, "headers_too_large", "the request's header fields are too large"))

    def known(self) -> None:
        """Its agent has shown a good token: there is a session to record, and no stranger to turn away."""
        self._front.strangers.pop(self, None)
        self.session.open()

    @property
    def handler(self) -> asyncio.Task[None] | None:
        """What serves its requests, one after the other."""
        return self._task_handler

    @property
    def why_lost(self) -> str:
        """Why a request of it was cut off, for the record."""
        if self._stalled:
            return "the agent does not read"
        return "the gateway was shut down" if self._front.draining else "the agent disconnected"

    def turn_away(self) -> None:
        """There are too many connections, and this one is not of a known agent."""
        error = GatewayError(503, "too_many_connections", "the gateway has too many connections", Outcome.DENIED)
        self._refusals.record(self.session, error)
        if self.transport is not None:
            if self._current_request is None:
                self.transport.write(replies.raw_problem(error))
            self.force_close()

    def pause_writing(self) -> None:
        """The agent does not keep up; from now on it has to read something now and then."""
        super().pause_writing()
        self._wait_for_reading()

    def resume_writing(self) -> None:
        """It has kept up."""
        self._reads_again()
        super().resume_writing()

    def _wait_for_reading(self) -> None:
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self._stall_timer = self._loop.call_later(self.patience, self._look_whether_it_reads)

    def _look_whether_it_reads(self) -> None:
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() < self._unsent:  # slow, but it reads
            self._wait_for_reading()
            return
        self._stalled = True
        self.transport.abort()

    def _reads_again(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that could not be parsed: the framing is in doubt, so the connection goes."""
        error = _malformed(exc) if status < 500 else GatewayError(500, "internal", "the gateway failed", close=True)
        if status >= 500:
            self.logger.error("handler failed", exc_info=exc)
        self._refusals.record(self.session, error)
        self.force_close_soon()
        return replies.problem(error, "")

    def force_close_soon(self) -> None:
        """Take no further request from this connection; the reply under way still goes out."""
        self.close()

    def _arm(self) -> None:
        self._head_timer = self._loop.call_later(self._limits.request_head, self._head_late)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._head_bytes or not self._request_count:
            self._refuse(AgentError(408, "head_timeout", "the request's head did not arrive in time"))

    def _refuse(self, error: AgentError) -> None:
        """Answer without a request, record, and close."""
        if self.transport is None or self._current_request is not None:
            return
        self._disarm()
        if self._head_bytes:
            self._refusals.record(self.session, error)
            self.transport.write(replies.raw_problem(error))
        self.force_close()


class Server(web.Server):
    """Makes a `Connection` for each connection."""

    def __init__(
        self, handler: Handler, limits: Limits, metrics: Metrics, refusals: Refusals, open_session: OpenSession
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.limits, self.metrics, self.refusals, self.open_session = limits, metrics, refusals, open_session
        #: Set when the ingress is going down.
        self.draining = False
        #: Connections that have shown no good token, the oldest first.
        self.strangers: dict[Connection, None] = {}
        self._count = 0

    def admits(self, connection: Connection) -> bool:
        """Count a new connection; at the limit the oldest stranger makes room for it, and where there is none, False.

        So strangers cannot lock agents out by holding connections: they push out each other.
        """
        self._count += 1
        if self._count > self.limits.connections:
            if not self.strangers:
                return False
            oldest = next(iter(self.strangers))
            del self.strangers[oldest]
            oldest.turn_away()
        self.strangers[connection] = None
        return True

    def left(self, connection: Connection) -> None:
        """A connection has ended."""
        self._count -= 1
        self.strangers.pop(connection, None)

    def pre_shutdown(self) -> None:
        """Take no further request."""
        self.draining = True
        super().pre_shutdown()

    async def end(self, drain: float) -> None:
        """Let requests end by themselves for `drain` seconds; cut what is left, and wait until that is recorded."""
        handlers = {task for each in self.connections if isinstance(each, Connection) and (task := each.handler)}
        await self.shutdown(drain / 2)  # aiohttp waits as long for the request, and again for its handler
        if handlers:
            await asyncio.wait(handlers, timeout=CUT)

    def __call__(self) -> Connection:
        """aiohttp's protocol factory."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=self.limits.keep_alive,
            max_line_size=MAX_TARGET + 100,
            max_field_size=min(self.limits.headers, 16 * 1024),
            max_headers=100,
            auto_decompress=False,
            lingering_time=1.0,
        )


def _malformed(exc: BaseException | None) -> AgentError:
    if isinstance(exc, LineTooLong):
        return AgentError(431, "headers_too_large", "the request's head is too large", close=True)
    return AgentError(400, "malformed", "the request is not well-formed HTTP/1.1", close=True)
