"""A client that speaks the wire as a test says: messages out, messages in, nothing of a driver's own in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import HEADER, Piece, Run
from services.ingress.protocols.postgres.codec.startup import Startup
from services.ingress.protocols.postgres.codec.values import message
from tests.postgres.gateway import CONNECTOR, Gateway

#: A role that needs no password.
TRUSTED = "svc_trust"
#: Seconds for an answer: they only end a failing test.
PATIENCE = 30.0


class Wire:
    """One connection, logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.decoder = backend.decoder()
        self._rows: list[Any] = []
        self._pieces: list[bytes] = []
        self.key: backend.BackendKeyData | None = None

    def send(self, *messages: Any) -> None:
        """In one piece."""
        self.writer.write(b"".join(one if isinstance(one, bytes) else one.encode() for one in messages))

    async def next(self) -> Any:
        """The next message, read; rows one by one. Raises EOFError."""
        if self._rows:
            return self._rows.pop(0)
        async with asyncio.timeout(PATIENCE):
            while (item := self.decoder.next()) is None:
                if not (data := await self.reader.read(65536)):
                    raise EOFError
                self.decoder.feed(data)
        if isinstance(item, Run):
            self._rows = [
                backend.DataRow(backend.row(payload)) if item.kind == backend.DATA_ROW
                else frontend.CopyData(bytes(payload)) for payload in item.payloads()
            ]  # fmt: skip
            return self._rows.pop(0)
        if isinstance(item, Piece):
            self._pieces.append(item.data)
            if not item.last:
                return await self.next()
            whole, self._pieces = b"".join(self._pieces), []
            return backend.DataRow(backend.row(whole[HEADER:]))
        return backend.read(item)

    async def until_ready(self) -> list[Any]:
        """Everything up to ReadyForQuery, that included."""
        found = []
        while True:
            found.append(await self.next())
            if isinstance(found[-1], backend.ReadyForQuery):
                return found

    async def query(self, sql: str) -> list[Any]:
        self.send(frontend.Query(sql.encode()))
        return await self.until_ready()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


async def _login(wire: Wire, user: str, database: str, password: str | None, parameters: dict[str, str]) -> None:
    wire.send(Startup((3, 0), {"user": user, "database": database, **parameters}))
    while not isinstance(said := await wire.next(), backend.ReadyForQuery):
        if isinstance(said, backend.Authentication) and said.code == backend.CLEARTEXT:
            assert password is not None
            wire.send(frontend.password(password.encode()))
        elif isinstance(said, backend.BackendKeyData):
            wire.key = said
        assert not (isinstance(said, backend.Report) and said.kind == backend.ERROR), said


@asynccontextmanager
async def through(gateway: Gateway, **parameters: str) -> AsyncIterator[Wire]:
    """A connection through the gateway."""
    wire = Wire(*await asyncio.open_connection(*gateway.address))
    try:
        await _login(wire, "agent", CONNECTOR, gateway.token(), parameters)
        yield wire
    finally:
        await wire.close()
    await gateway.heard()


@asynccontextmanager
async def past(gateway: Gateway, database: str = "", **parameters: str) -> AsyncIterator[Wire]:
    """A connection past it, in a role that is trusted."""
    wire = Wire(*await asyncio.open_connection(gateway.server.host, gateway.server.port))
    try:
        await _login(wire, TRUSTED, database or gateway.database, None, parameters)
        yield wire
    finally:
        await wire.close()


def kinds(messages: list[Any]) -> str:
    """The messages' kinds as a string of letters: `12TDCZ`."""
    return "".join(chr(one.encode()[0]) for one in messages)


def errors(messages: list[Any]) -> list[tuple[str, str]]:
    """SQLSTATE and words of each error."""
    return [
        (one["C"].decode(), one["M"].decode())
        for one in messages
        if isinstance(one, backend.Report) and one.kind == backend.ERROR
    ]


def rows(messages: list[Any]) -> list[tuple[bytes | None, ...]]:
    return [one.values for one in messages if isinstance(one, backend.DataRow)]


__all__ = ["Wire", "errors", "kinds", "message", "past", "rows", "through"]
