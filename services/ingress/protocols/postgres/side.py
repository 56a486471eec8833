"""Questions of our own to the database, on a connection beside the session's: same role, same database.

Each conversation has a connection to itself, reads only and for so long; `beside` closes it afterwards, `Kept` keeps it
for the next one, which it begins and ends as a transaction that is rolled back: nothing that planning a statement may
have set is left of it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from services.ingress.errors import UpstreamError
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame, Piece
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.ingress.upstream.postgres.database import PostgresUpstream

Row = tuple[str | None, ...]
T = TypeVar("T")
#: Seconds that a connection is kept for the next questions, so that what is set for new ones is heeded.
AGE = 90.0
#: Seconds that the server may take for a statement of a question.
MOST = 10.0
#: Most that one answer may hold, in bytes: a catalog of 100,000 columns takes about 10 MB (G10).
MAX_ANSWER = 64 * 1024**2


class SideFailed(Exception):
    """The question was not answered; the message is ours, with the server's SQLSTATE at most."""


class SideRefused(SideFailed):
    """The server has answered with an error; the connection is as good as before."""


@dataclass
class Side:
    """One connection of our own."""

    connection: PostgresConnection

    @property
    def version(self) -> int:
        """The server's major version; 0 where it does not say."""
        found = re.match(r"\d+", self.connection.parameters.get("server_version", ""))
        return int(found[0]) if found else 0

    async def simple(self, sql: str) -> list[Row]:
        """The rows of a query without parameters. Raises SideFailed."""
        return await self._ask(frontend.Query(sql.encode()).encode())

    async def extended(self, sql: str, bind: frontend.Bind, types: Sequence[int] = ()) -> list[Row]:
        """The rows of a query with parameters, as text. Raises SideFailed."""
        messages = (
            frontend.Parse(b"", sql.encode(), tuple(types)),
            bind,
            frontend.Execute(b""),
            frontend.Sync(),
        )
        return await self._ask(b"".join(message.encode() for message in messages))

    async def _ask(self, data: bytes) -> list[Row]:
        channel, decoder = self.connection.channel, self.connection.decoder
        channel.write(data)
        rows: list[Row] = []
        failed, size = "", 0
        while True:
            while (item := decoder.next()) is None:
                if not (received := await channel.read()):
                    raise SideFailed("the database closed the connection")
                size += len(received)
                if size > MAX_ANSWER:
                    raise SideFailed("the answer is too large")
                decoder.feed(received)
            if isinstance(item, Frame):
                if item.kind == backend.READY:
                    break
                if item.kind == backend.ERROR:
                    failed = _sqlstate(item)
            elif isinstance(item, Piece):
                raise SideFailed("the answer is too large")
            else:
                rows.extend(_row(payload) for payload in item.payloads())
        if failed:
            raise SideRefused(f"the database refused with SQLSTATE {failed}")
        return rows


@asynccontextmanager
async def beside(
    target: PostgresUpstream, timeout: float, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Side]:
    """A connection for reading, for at most `timeout` seconds in all. Raises SideFailed."""
    connection: PostgresConnection | None = None
    try:
        with _failing():
            async with asyncio.timeout(timeout):
                connection = await target.connect(_options(timeout) | dict(settings or {}))
                yield Side(connection)
    finally:
        if connection is not None:
            await connection.close()


@dataclass
class Kept:
    """The connection to one database that is kept between questions: one at most, for AGE seconds (G10)."""

    target: PostgresUpstream
    _connection: PostgresConnection | None = None
    _closing: asyncio.TimerHandle | None = None
    #: When the connection that was made last was made.
    _opened: float = 0.0

    async def ask(self, question: Callable[[Side], Awaitable[T]], timeout: float) -> T:
        """What a question answers, asked within a transaction of its own, in so many seconds. Raises SideFailed."""
        if (connection := self._take()) is not None:
            try:
                return await self._asked(connection, question, timeout)
            except SideRefused:
                raise
            except SideFailed:  # the connection may just have been too old
                pass
        return await self._asked(None, question, timeout)

    async def _asked(
        self, connection: PostgresConnection | None, question: Callable[[Side], Awaitable[T]], timeout: float
    ) -> T:
        whole = False
        try:
            with _failing():
                async with asyncio.timeout(timeout):
                    if connection is None:
                        connection = await self.target.connect(_options(MOST))
                        self._opened = asyncio.get_running_loop().time()
                    side = Side(connection)
                    await side.simple("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    refused: SideRefused | None = None
                    try:
                        answer = await question(side)
                    except SideRefused as error:
                        refused = error
                    await side.simple("ROLLBACK")
                    whole = True
                    if refused is not None:
                        raise refused
                    return answer
        finally:
            if connection is not None:
                await self._leave(connection, whole=whole)

    def _take(self) -> PostgresConnection | None:
        connection, self._connection = self._connection, None
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        return connection

    async def _leave(self, connection: PostgresConnection, *, whole: bool) -> None:
        left = self._opened + AGE - asyncio.get_running_loop().time()
        if not whole or self._connection is not None or connection.channel.gone.is_set() or left <= 0:
            await connection.close()
            return
        self._connection = connection
        self._closing = asyncio.get_running_loop().call_later(left, self.close)

    def close(self) -> None:
        """Let go of it."""
        if (connection := self._take()) is not None:
            connection.channel.write(frontend.Terminate().encode())
            connection.channel.transport.close()


def _options(timeout: float) -> dict[str, str]:
    return {
        "application_name": "countersign",
        "default_transaction_read_only": "on",
        "standard_conforming_strings": "on",
        "statement_timeout": str(max(1, int(timeout * 1000))),
        "client_encoding": "UTF8",
    }


@contextmanager
def _failing() -> Iterator[None]:
    """Whatever goes wrong, in our words."""
    try:
        yield
    except TimeoutError:
        raise SideFailed("the database did not answer in time") from None
    except (UpstreamError, OSError, ProtocolViolation) as error:
        raise SideFailed(error.detail if isinstance(error, UpstreamError) else "the connection failed") from error


def _row(payload: memoryview) -> Row:
    return tuple(None if value is None else value.decode("utf-8", "replace") for value in backend.row(payload))


def _sqlstate(frame: Frame) -> str:
    report = backend.read(frame)
    return report["C"].decode("ascii", "replace") if isinstance(report, backend.Report) else "?"
