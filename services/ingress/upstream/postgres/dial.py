"""Reach a PostgreSQL server: TCP or a Unix socket, and TLS as `sslmode` says, with libpq's meanings.

    sslmode       first try              then, when that is refused
    disable       in clear               -
    allow         in clear               TLS
    prefer        TLS, or clear if 'N'   in clear
    require       TLS                    -      with sslrootcert as verify-ca
    verify-ca     TLS, chain checked     -
    verify-full   TLS, chain and name    -

A Unix socket has no TLS, whatever `sslmode` says (PostgreSQL documentation, "SSL Support").
"""

import asyncio
import ssl
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from services.ingress.channel import Channel
from services.ingress.protocols.postgres.codec.startup import SslRequest
from services.runtime.settings import SettingsError
from services.runtime.settings.connectors import PostgresUpstream as Place

#: IANA's name for it ("TLS Application-Layer Protocol Negotiation (ALPN) Protocol IDs").
ALPN = "postgresql"


class Way(Enum):
    """How one try goes about TLS."""

    CLEAR = "clear"
    TLS = "tls"
    TLS_IF_OFFERED = "tls if offered"


_WAYS = {
    "disable": (Way.CLEAR,),
    "allow": (Way.CLEAR, Way.TLS),
    "prefer": (Way.TLS_IF_OFFERED, Way.CLEAR),
}


class TlsRefused(Exception):
    """The server speaks no TLS, or answers a request for it with something else."""


@dataclass(frozen=True)
class Dialler:
    """Opens connections to one server."""

    place: Place
    context: ssl.SSLContext

    @property
    def local(self) -> bool:
        """Whether it is a Unix socket: a directory, or a name in Linux' abstract namespace."""
        return self.place.host.startswith(("/", "@"))

    @property
    def ways(self) -> tuple[Way, ...]:
        """What to try, in turn."""
        return (Way.CLEAR,) if self.local else _WAYS.get(self.place.sslmode, (Way.TLS,))

    async def open(self, way: Way, timeout: float) -> Channel:
        """A connection ready for the startup packet. Raises OSError (ssl.SSLError and TimeoutError are), TlsRefused."""
        channel = await self._connect()
        try:
            if way is not Way.CLEAR and await self._offered(channel, way):
                await channel.start_tls(self.context, timeout, server_hostname=self.place.host)
        except BaseException:
            channel.abort()
            raise
        return channel

    def trusts(self, channel: Channel) -> bool:
        """Whether nobody can sit in between: verified TLS, a Unix socket, or this very machine."""
        if self.local or (channel.encrypted and self.context.verify_mode is ssl.CERT_REQUIRED):
            return True
        try:
            return ip_address(channel.transport.get_extra_info("peername")[0]).is_loopback
        except (TypeError, ValueError, IndexError):
            return False

    async def _connect(self) -> Channel:
        loop, place = asyncio.get_running_loop(), self.place
        if self.local:
            path = f"{place.host}/.s.PGSQL.{place.port}"
            name = "\0" + path[1:] if path.startswith("@") else path
            _, channel = await loop.create_unix_connection(Channel, name)
        else:
            _, channel = await loop.create_connection(Channel, place.host, place.port)
        return channel

    async def _offered(self, channel: Channel, way: Way) -> bool:
        channel.write(SslRequest().encode())
        answer = await channel.read()
        if answer == b"S":  # alone: more would have been sent in clear by somebody else (CVE-2021-23222)
            return True
        if answer == b"N" and way is Way.TLS_IF_OFFERED:
            return False
        # An error here has not been authenticated and is not shown (CVE-2024-10977).
        raise TlsRefused("the server offers no TLS" if answer == b"N" else "the server answers TLS with something else")


def tls_context(place: Place, where: str) -> ssl.SSLContext:
    """What the settings ask for. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    verified = place.sslmode in ("verify-ca", "verify-full") or (place.sslmode == "require" and place.sslrootcert)
    context.check_hostname = place.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    try:
        if place.sslrootcert:
            context.load_verify_locations(place.sslrootcert)
        elif verified:
            context.load_default_certs()
        if place.sslcert:
            context.load_cert_chain(place.sslcert, place.sslkey)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "not PEM"
        raise SettingsError(f"countersign.yaml: {where}: sslrootcert, sslcert or sslkey: {reason}") from None
    return context
