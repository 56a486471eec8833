"""Sends operations by syslog: over TLS or TCP with octet counting (RFC 5425, RFC 6587), or as UDP datagrams (RFC 5426).

Syslog has no acknowledgement. Over a stream, what the peer's side of the connection has not taken in when it breaks is
lost; so a broken connection is reported as such, and the last batches are sent again (deliverer.py). UDP tells nobody
what is lost: it is there for receivers that have nothing else.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from services.recorder.delivery.messages import Message
from services.recorder.delivery.refusal import NotTaken
from services.recorder.delivery.syslog_format import counted, formatted

#: What a datagram holds (RFC 768 over IPv4).
_DATAGRAM: Final = 65_507


class SyslogStream:
    """One receiver over TCP, or TLS with a context."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, timeout: float = 15) -> None:
        self._host, self._port, self._tls, self._timeout = host, port, tls, timeout
        self._hostname = socket.gethostname()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, identifier: str, messages: Sequence[Message]) -> None:
        """Returns when the kernel has all of it and the peer has not hung up. Raises NotTaken."""
        fresh = self._streams is None
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await self._opened()
                if reader.at_eof():
                    raise ConnectionResetError("the receiver hung up")
                for message in messages:
                    writer.write(counted(formatted(message, self._hostname)))
                    await writer.drain()
        except (OSError, TimeoutError) as error:
            await self.close()
            raise NotTaken(f"{type(error).__name__}: {error}", lost=not fresh) from error

    async def close(self) -> None:
        """Idempotent."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            name = self._host if self._tls else None
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, server_hostname=name)
            # `drain` waits until the kernel has it. Not 0: asyncio's TLS transport would pause with nothing to send.
            writer.transport.set_write_buffer_limits(high=1, low=0)
            self._streams = reader, writer
        return self._streams


class SyslogDatagrams:
    """One receiver over UDP."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._hostname = socket.gethostname()
        self._transport: asyncio.DatagramTransport | None = None

    async def send(self, identifier: str, messages: Sequence[Message]) -> None:
        """Returns when the datagrams are on their way. Raises NotTaken."""
        try:
            if self._transport is None:
                self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=self._address
                )
        except OSError as error:
            raise NotTaken(f"{type(error).__name__}: {error}") from error
        for message in messages:
            self._transport.sendto(formatted(message, self._hostname)[:_DATAGRAM])

    async def close(self) -> None:
        """Idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


def host_and_port(to: str, port: int) -> tuple[str, int]:
    """Of `syslog+…://host[:port]`."""
    parts = urlsplit(to)
    assert parts.hostname
    return parts.hostname, parts.port or port
