"""One connection as a stream of bytes with backpressure, towards agents and upstreams of protocols over plain TCP.

What asyncio's streams leave out: an upgrade to TLS in the middle that no byte can slip by, word that the peer has gone
while nobody reads, and what arrived handed out without copying it.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import cast

#: Bytes that may wait to be read, or to be sent, before the other side is made to wait: a few round trips' worth.
HIGH_WATER = 256 * 1024
#: A peer that has vanished without a word is found out after 60 + 4 * 15 seconds without traffic (tcp(7)).
KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
#: Seconds for TLS's good-bye before the connection is cut.
TLS_SHUTDOWN = 1.0


class Channel(asyncio.Protocol):
    """asyncio's protocol of one connection; `read`, `write` and `drain` are for its one user."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        #: Set once the peer has closed or is lost, even while nobody reads; what it sent before can still be read.
        #: Not noticed while HIGH_WATER bytes wait to be read.
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport

    # ---- asyncio's side -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection, or with TLS from its beginning a handshake that went well."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        if (connection := transport.get_extra_info("socket")) is not None:
            keep_alive(connection)

    def data_received(self, data: bytes) -> None:
        """Keep it; too much makes the sender wait."""
        self._chunks.append(data)
        self._waiting += len(data)
        self._readable.set()
        if self._waiting > HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Half a connection is none: what is still to be written goes out, then asyncio closes it."""
        self.gone.set()
        self._readable.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake whoever waits."""
        for event in (self.gone, self._closed, self._readable, self._writable):
            event.set()

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    # ---- the user's side ------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """What has arrived, as soon as something has; nothing at all once the peer has gone."""
        if not self._chunks:
            if self.gone.is_set():
                return b""
            self._readable.clear()
            await self._readable.wait()
        return self.take()

    def take(self) -> bytes:
        """What has arrived by now, without waiting."""
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        if self._paused:
            self._paused = False
            if not self._closed.is_set():
                self.transport.resume_reading()
        return data

    @property
    def pending(self) -> int:
        """Bytes that wait to be read."""
        return self._waiting

    def write(self, data: bytes) -> None:
        """Send, or queue; `drain` before sending much more. After the peer has gone it does nothing."""
        if not self._closed.is_set():
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the peer keeps up. Raises ConnectionResetError once it has gone."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self._closed.is_set():
            raise ConnectionResetError("the connection is lost")

    @property
    def encrypted(self) -> bool:
        """Whether it is TLS."""
        return self.tls is not None

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session: what was agreed on, and the peer's certificate."""
        return cast("ssl.SSLObject | None", self.transport.get_extra_info("ssl_object"))

    async def start_tls(
        self, context: ssl.SSLContext, timeout: float, *, server_side: bool = False, server_hostname: str | None = None
    ) -> None:
        """Speak TLS from here on. Raises OSError (ssl.SSLError and TimeoutError are).

        The caller makes sure that nothing is `pending`: what came before the handshake is not protected by it
        (CVE-2021-23214, CVE-2021-23222). From this call on nothing more is read in clear.
        """
        if self._waiting:
            raise ConnectionAbortedError("bytes were sent before TLS was agreed on")
        if self._closed.is_set():
            raise ConnectionResetError("the connection is lost")
        upgraded = await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=timeout,
            ssl_shutdown_timeout=TLS_SHUTDOWN,
        )
        if upgraded is None:  # uvloop's answer to a connection that was lost in between
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        self.transport = upgraded
        upgraded.set_write_buffer_limits(high=HIGH_WATER)

    async def close(self, timeout: float = 1.0) -> None:
        """Send what is still to be sent, for so many seconds, then cut the connection."""
        self.transport.close()
        try:
            async with asyncio.timeout(timeout):
                await self._closed.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Cut it now."""
        self.transport.abort()


def keep_alive(connection: socket.socket) -> None:
    """Ask the kernel to find out vanished peers; on a Unix socket there is nothing to ask for."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
