"""Questions of our own to the database, on a connection beside the session's: same role, same database.

Each conversation has its own connection, a read-only transaction and a time-out, and is closed afterwards.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.ingress.errors import UpstreamError
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame, Piece
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.ingress.upstream.postgres.database import PostgresUpstream

Row = tuple[str | None, ...]
#: Most that one answer may hold, in bytes: a catalog of 100,000 columns takes about 10 MB (G10).
MAX_ANSWER = 64 * 1024**2


class SideFailed(Exception):
    """The question was not answered; the message is ours, with the server's SQLSTATE at most."""


@dataclass
class Side:
    """One connection of our own."""

    connection: PostgresConnection

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
            raise SideFailed(f"the database refused with SQLSTATE {failed}")
        return rows


@asynccontextmanager
async def beside(
    target: PostgresUpstream, timeout: float, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Side]:
    """A connection for reading, for at most `timeout` seconds in all. Raises SideFailed."""
    options = {
        "application_name": "countersign",
        "default_transaction_read_only": "on",
        "statement_timeout": str(max(1, int(timeout * 1000))),
        "client_encoding": "UTF8",
        **(settings or {}),
    }
    connection: PostgresConnection | None = None
    try:
        async with asyncio.timeout(timeout):
            connection = await target.connect(options)
            yield Side(connection)
    except TimeoutError:
        raise SideFailed("the database did not answer in time") from None
    except (UpstreamError, OSError, ProtocolViolation) as error:
        raise SideFailed(error.detail if isinstance(error, UpstreamError) else "the connection failed") from error
    finally:
        if connection is not None:
            await connection.close()


def _row(payload: memoryview) -> Row:
    return tuple(None if value is None else value.decode("utf-8", "replace") for value in backend.row(payload))


def _sqlstate(frame: Frame) -> str:
    report = backend.read(frame)
    return report["C"].decode("ascii", "replace") if isinstance(report, backend.Report) else "?"
