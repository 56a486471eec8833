"""Accepts PostgreSQL clients: one task each, from the first byte to the last, and a drain that waits for them.

The first byte is looked at before it is read: a TLS handshake without an SSLRequest (`sslnegotiation=direct`) begins
with 0x16, anything else with a length.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from schemas.events import Outcome
from services.ingress.channel import Channel
from services.ingress.errors import AgentError, AgentGone, GatewayError
from services.ingress.parts import Parts
from services.ingress.protocols.postgres.cancels import Cancels
from services.ingress.protocols.postgres.codec import backend
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.protocols.postgres.errors import response, violated
from services.ingress.protocols.postgres.front import Front
from services.ingress.protocols.postgres.handshake import Guest, Handshake
from services.ingress.story import Session
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.ingress.upstream.postgres.database import PostgresUpstream
from services.ingress.upstream.postgres.dial import ALPN
from services.runtime.settings import Address
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: Connections that wait to be accepted.
BACKLOG = 1024
#: Clients that have not shown a token yet; each may hold a startup packet and a TLS handshake.
STRANGERS = 512
#: Seconds until accepting is tried again when the process has no file descriptor left.
RETRY = 1.0
#: The first byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
_TLS_HANDSHAKE = 0x16

Serve = Callable[[Parts, Front, PostgresConnection], Awaitable[None]]
Judge = Callable[[Parts, Front], Awaitable[None]]


@dataclass
class Listener:
    """The front for PostgreSQL of one ingress."""

    parts: Parts
    targets: Mapping[str, PostgresUpstream]
    #: What a session does; returns when it has ended.
    serve: Serve
    #: Whether a replication connection may be opened at all; raises GatewayError.
    judge_replication: Judge
    tls: ssl.SSLContext | None = None
    cancels: Cancels = field(default_factory=Cancels)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    #: Connections that have not shown a token yet.
    strangers: int = 0
    _tasks: TaskGroup = field(default_factory=lambda: TaskGroup("postgres"))
    _sessions: Counter[str] = field(default_factory=Counter)
    _socket: socket.socket | None = None
    _accepting: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        limits = self.parts.settings.limits
        self._handshake = Handshake(
            self.parts.admission, self.targets, self.cancels, self.tls, timeout=limits.request_head
        )

    async def start(self, address: Address) -> Address:
        """Listen; where, really. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        self._socket = socket.create_server(place, family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._accepting = TaskGroup("postgres listener").start(self._accept(self._socket), "accept")
        host, port = self._socket.getsockname()[:2]
        return Address(host=host, port=port)

    async def stop(self, drain: float) -> None:
        """No new connections; idle sessions end, those at work may finish for so many seconds."""
        self.draining.set()
        if self._accepting is not None and self._socket is not None:
            self._accepting.cancel()
            await asyncio.wait((self._accepting,))
            self._socket.close()
        if not await self._tasks.drain(drain):
            log.warning("sessions are cut off", sessions=len(self._tasks))
            await self._tasks.cancel()
        self.parts.catalogs.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.error("connections cannot be accepted for now", error=str(error))
                await asyncio.sleep(RETRY)
                continue
            connection.setblocking(False)
            self._tasks.start(self._connection(connection), "connection")

    async def _connection(self, connection: socket.socket) -> None:
        """One client, from its first byte to its last."""
        self.strangers += 1
        try:
            channel = await self._open(connection)
        except (OSError, ValueError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            log.debug("no connection came of it", reason=type(error).__name__)
            return
        finally:
            self.strangers -= 1
        peer = channel.transport.get_extra_info("peername") or ("", 0)
        session = Session(self.parts.emitter, self.parts.metrics, "postgres", f"{peer[0]}:{peer[1]}", channel.encrypted)
        try:
            await self._guarded(channel, session)
        finally:
            await channel.close()

    async def _open(self, connection: socket.socket) -> Channel:
        """The connection, after a TLS handshake if it begins with one."""
        loop, limit = asyncio.get_running_loop(), self.parts.settings.limits.request_head
        try:
            direct = await self._begins_with_tls(connection, limit)
        except BaseException:
            connection.close()  # later on it is the transport's: closing it under its feet makes uvloop spin
            raise
        channel = Channel()  # kept here: what uvloop returns for TLS is a protocol of its own
        await loop.connect_accepted_socket(
            lambda: channel,
            connection,
            ssl=self.tls if direct else None,
            ssl_handshake_timeout=limit if direct else None,
        )
        # Without ALPN, a client of another protocol could be led here (PostgreSQL documentation, "Message Flow").
        if direct and channel.tls is not None and channel.tls.selected_alpn_protocol() != ALPN:
            channel.abort()
            raise ConnectionAbortedError("direct TLS without ALPN")
        return channel

    async def _begins_with_tls(self, connection: socket.socket, limit: float) -> bool:
        """Whether the client starts TLS without asking. Raises OSError for one that is turned away here."""
        if self.strangers > STRANGERS:
            raise ConnectionAbortedError("too many connections without a token")
        async with asyncio.timeout(limit):
            first = await _first_byte(connection)
        if not first:
            raise ConnectionResetError("closed before the first byte")
        if first[0] != _TLS_HANDSHAKE:
            return False
        if self.tls is None:
            raise ConnectionAbortedError("TLS is not configured")
        return True

    async def _guarded(self, channel: Channel, session: Session) -> None:
        """Whatever goes wrong: the client is told in its own protocol, and it is recorded."""
        guest: Guest | None = None
        try:
            guest = await self._let_in(channel, session)
            if guest is not None:
                await self._session(channel, session, guest)
        except AgentGone:
            session.close("the client left")
        except ProtocolViolation as violation:
            self._refuse(channel, session, violated(violation), guest)
        except GatewayError as error:
            self._refuse(channel, session, error, guest)
        except OSError as error:
            log.info("connection lost", session_id=session.session_id, reason=type(error).__name__)
            session.close(type(error).__name__)
        except asyncio.CancelledError:
            channel.write(response(shutting_down(), severity="FATAL"))
            session.close("the gateway is going down")
            raise
        except Exception:
            log.exception("session failed", session_id=session.session_id)
            self._refuse(channel, session, GatewayError(500, "internal", "the gateway failed"), guest)
        finally:
            session.close()

    async def _let_in(self, channel: Channel, session: Session) -> Guest | None:
        limit = self.parts.settings.limits.request_head
        self.strangers += 1
        try:
            async with asyncio.timeout(limit):
                return await self._handshake.admit(channel)
        except TimeoutError:
            raise AgentError(408, "startup_timeout", "the client did not log in in time", Outcome.DENIED) from None
        finally:
            self.strangers -= 1
            session.tls = channel.encrypted

    async def _session(self, channel: Channel, session: Session, guest: Guest) -> None:
        target = guest.target
        if self.draining.is_set():
            raise shutting_down()
        if self._sessions[target.name] >= target.settings.pool:
            raise AgentError(429, "too_many_sessions", "this connector has no session left", Outcome.DENIED)
        self._sessions[target.name] += 1
        self.parts.metrics.sessions.labels("postgres").inc()
        try:
            await self._serve(channel, session, guest)
        finally:
            self._sessions[target.name] -= 1
            self.parts.metrics.sessions.labels("postgres").dec()

    async def _serve(self, channel: Channel, session: Session, guest: Guest) -> None:
        front = Front(channel, guest.decoder, session, guest.identity, guest.target, guest.wish, self.draining)
        if guest.wish.replication:
            await self.judge_replication(self.parts, front)
        passed = front.parameters | ({"replication": guest.wish.replication} if guest.wish.replication else {})
        upstream = await guest.target.connect(passed)
        key = self.cancels.issue(guest.wish.spoken, front.cancel)
        try:
            session.open()
            greet(channel, upstream, key)
            await self.serve(self.parts, front, upstream)
        finally:
            self.cancels.withdraw(key)
            await upstream.close()

    def _refuse(self, channel: Channel, session: Session, error: GatewayError, guest: Guest | None) -> None:
        """FATAL; who was not let in is recorded as refused, how a session ended is recorded with it."""
        channel.write(response(error, severity="FATAL"))
        if not session.opened:
            connector = guest.target.name if guest else ""
            identity = guest.identity if guest else None
            self.parts.refusals.record(session, error, connector=connector, identity=identity)
        session.close(error.code)


def greet(channel: Channel, upstream: PostgresConnection, key: backend.BackendKeyData) -> None:
    """What a server says once it has let a client in: the database's settings, and a key of our own."""
    told = [
        backend.ParameterStatus(name.encode(), value.encode()).encode() for name, value in upstream.parameters.items()
    ]
    welcome = (backend.Authentication(backend.OK).encode(), *told, key.encode())
    channel.write(b"".join((*welcome, backend.ReadyForQuery(upstream.status).encode())))


def shutting_down() -> AgentError:
    """57P01, as PostgreSQL says it."""
    return AgentError(503, "shutting_down", "terminating connection: the gateway is going down", Outcome.DENIED)


async def _first_byte(connection: socket.socket) -> bytes:
    """The first byte, left where it is; nothing when the client has gone. Raises OSError."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_reader(connection, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(connection)
