"""A relay that speaks TLS before a PostgreSQL without it: what answers SSLRequest, for tests of `sslmode`.

It decrypts and passes on; nothing of PostgreSQL is imitated but the answer to SSLRequest.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trustme

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass
class Relay:
    """Where it listens, and what it saw."""

    target: tuple[str, int]
    context: ssl.SSLContext | None
    #: What it answers to SSLRequest.
    answer: bytes = b"S"
    #: Say no to a login in clear, or in TLS, as pg_hba.conf's `reject` does.
    reject: str = ""
    port: int = 0
    #: For each connection whether it came to speak TLS.
    encrypted: list[bool] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)
    connections: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = False
        self.connections.add(asyncio.current_task())
        try:
            first = await reader.readexactly(8)
            if first == SSL_REQUEST:
                writer.write(self.answer)
                await writer.drain()
                if self.answer == b"S" and self.context:
                    await writer.start_tls(self.context)
                    tls = True
                    self.protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
                elif self.answer != b"N":
                    return
                first = b""
            self.encrypted.append(tls)
            if self.reject == ("tls" if tls else "clear"):
                fields = b"SFATAL\0VFATAL\0C28000\0Mno entry for this\0\0"
                writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                await writer.drain()
                return
            await self._relay(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _relay(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, sink = await asyncio.open_connection(*self.target)
        sink.write(first)
        tasks = [asyncio.create_task(_pump(reader, sink)), asyncio.create_task(_pump(upstream, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sink.close()
        with suppress(OSError):
            await sink.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def relaying(
    target: tuple[str, int], authority: trustme.CA | None, *names: str, **behaviour: str | bytes
) -> AsyncIterator[Relay]:
    """A relay with a certificate for these names, on a free port of 127.0.0.1."""
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["postgresql"])
        authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    relay = Relay(target, context, **behaviour)  # type: ignore[arg-type]
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await ended(relay.connections)


async def ended(connections: set[asyncio.Task[None] | None]) -> None:
    """Wait until they have seen that the client has gone; the deadline only ends a failing test."""
    if waiting := [task for task in connections if task is not None]:
        await asyncio.wait(waiting, timeout=60)
