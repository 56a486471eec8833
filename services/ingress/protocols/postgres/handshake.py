"""From the first byte to a logged-in client: TLS, the startup packet, the token, and nothing to learn before it.

    the client sends         it gets
    SSLRequest               `S` and TLS when listen.tls is set, else `N`; once
    GSSENCRequest            `N`; once
    CancelRequest            nothing, whether or not the key meant a session here
    Startup                  a request for its password, by then in TLS unless it came over loopback
    PasswordMessage          AuthenticationOk, or FATAL: wrong token, no such connector, too many sessions

Which connectors exist is told to none but those with a token. With `listen.tls` set, a client from elsewhere that
speaks in clear is refused before it is asked for the token.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from schemas.events import Outcome
from schemas.identity import Identity
from services.ingress.admission import Admission, check_scope
from services.ingress.channel import Channel
from services.ingress.errors import AgentError, AgentGone
from services.ingress.protocols.postgres.cancels import Cancels
from services.ingress.protocols.postgres.codec import backend, frontend, startup
from services.ingress.protocols.postgres.codec.framing import Decoder, Frame
from services.ingress.protocols.postgres.codec.startup import CancelRequest, GssEncRequest, SslRequest, Startup
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.protocols.postgres.errors import violated
from services.ingress.protocols.postgres.startup import Wish, wish
from services.ingress.upstream.postgres.database import PostgresUpstream


@dataclass(frozen=True)
class Guest:
    """A client whose token is good for the connector it asked for."""

    identity: Identity
    target: PostgresUpstream
    wish: Wish
    #: Whatever it sent after its password.
    decoder: Decoder


@dataclass(frozen=True)
class Handshake:
    """How clients are let in at one listener."""

    admission: Admission
    targets: Mapping[str, PostgresUpstream]
    cancels: Cancels
    tls: ssl.SSLContext | None
    #: Seconds for a TLS handshake.
    timeout: float

    async def admit(self, channel: Channel) -> Guest | None:
        """None for a CancelRequest, and for who leaves before its password. Raises AgentError, NotDecided, OSError."""
        try:
            packet, rest = await self._packets(channel)
            if isinstance(packet, CancelRequest):
                self.cancels.cancel(packet)
                return None
            self._check_encrypted(channel)
            asked = wish(packet)
            if asked.newer:
                major, minor = asked.spoken
                channel.write(backend.NegotiateProtocolVersion(major << 16 | minor, _names(asked.unknown)).encode())
            channel.write(backend.Authentication(backend.CLEARTEXT).encode())
            token, rest = await self._password(channel, rest)
        except ProtocolViolation as violation:
            raise violated(violation) from None
        except AgentGone:
            return None
        identity = await self._identify(token, asked.database)
        decoder = frontend.decoder()
        decoder.feed(rest)
        return Guest(identity, self._target(asked.database), asked, decoder)

    async def _packets(self, channel: Channel) -> tuple[Startup | CancelRequest, bytes]:
        """The packet that matters, and what came after it."""
        data, refused = b"", set[type]()
        while True:
            packet, length = startup.read(data)
            if packet is None:
                data += await _read(channel)
                continue
            rest = data[length:]
            match packet:
                case Startup() | CancelRequest():
                    return packet, rest
                case SslRequest() if self.tls and not channel.encrypted:
                    if rest or channel.pending:  # sent in clear, and yet meant to be read as if it were not
                        raise ProtocolViolation("bytes were sent before TLS was agreed on")
                    channel.write(b"S")
                    await channel.start_tls(self.tls, self.timeout, server_side=True)
                case SslRequest() | GssEncRequest() if type(packet) not in refused:
                    refused.add(type(packet))
                    channel.write(b"N")
                case _:
                    raise ProtocolViolation("the client asks for encryption again")
            data = rest

    def _check_encrypted(self, channel: Channel) -> None:
        if self.tls is None or channel.encrypted or is_loopback(channel):
            return
        raise AgentError(
            403, "tls_required", "this gateway takes tokens over TLS only: use sslmode=verify-full", Outcome.DENIED
        )

    async def _password(self, channel: Channel, rest: bytes) -> tuple[str, bytes]:
        """The token, and what came after it."""
        decoder = frontend.login_decoder()
        decoder.feed(rest)
        while (item := decoder.next()) is None:
            decoder.feed(await _read(channel))
        assert isinstance(item, Frame)
        if not item.payload.endswith(b"\0") or b"\0" in item.payload[:-1]:
            raise ProtocolViolation("the password is no string")
        try:
            return item.payload[:-1].decode("ascii").strip(), decoder.take_rest()
        except UnicodeDecodeError:
            return "?", decoder.take_rest()  # no token looks like this

    async def _identify(self, token: str, database: str) -> Identity:
        if not token:
            raise AgentError(401, "unauthenticated", "show a token as the password", Outcome.DENIED)
        identity = await self.admission.admit(token)
        check_scope(identity, database)
        return identity

    def _target(self, database: str) -> PostgresUpstream:
        target = self.targets.get(database)
        if target is None:
            shown = f'"{database}"' if database.isprintable() and len(database) <= 63 else "of that name"
            raise AgentError(404, "unknown_connector", f"no PostgreSQL connector {shown}", Outcome.DENIED)
        return target


def is_loopback(channel: Channel) -> bool:
    """Whether the client is on this machine."""
    try:
        return ip_address(channel.transport.get_extra_info("peername")[0]).is_loopback
    except (TypeError, ValueError, IndexError):
        return False


async def _read(channel: Channel) -> bytes:
    if data := await channel.read():
        return data
    raise AgentGone(499, "agent_gone", "the client left", Outcome.FAILED)


def _names(unknown: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in unknown)
