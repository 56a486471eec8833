"""The ClickHouse HTTP interface, read-only, from the embedded engine. Counterpart: clickhouse-connect, Grafana, curl.

In embedded mode there is no ClickHouse server that an auditor could ask, and chDB lets no second process open the
directory. So the recorder answers for it, to readers it was told to trust, on threads beside its own inserts:

    request -> reader_request (credentials, query) -> authenticate -> reader_engine (sql_guard, chDB) -> reader_reply
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
from aiohttp import web

from services.recorder.reader_engine import QueryFailed, ReaderAnswer, ReaderEngine, ReaderQuery
from services.recorder.reader_reply import compressed, failure, reply
from services.recorder.reader_request import Credentials, read_credentials, read_query
from services.recorder.reader_settings import ReaderLimits
from services.recorder.sql_guard import Refused
from services.recorder.store_address import EmbeddedAddress

Authenticate = Callable[[Credentials], Awaitable[str | None]]

_REQUIRED_PASSWORD: Final = 194
_AUTHENTICATION_FAILED: Final = 516
_TOO_MANY_QUERIES: Final = 202
_QUERY_TOO_LARGE: Final = 229
_LINE_LIMIT: Final = 64 * 1024  # bytes of a request line: drivers put queries and parameters into it
_STOP_GRACE: Final = 5.0  # seconds that running queries get when the recorder stops

log = structlog.get_logger(__name__)


class EmbeddedClickHouse:
    """Serve one chDB directory to authenticated readers.

    `authenticate` answers the reader's name, or None for credentials that are not good; it is never asked about
    empty ones. Everything a query can cost is named in `limits`.
    """

    def __init__(
        self, address: EmbeddedAddress, authenticate: Authenticate, limits: ReaderLimits | None = None
    ) -> None:
        self._limits = limits or ReaderLimits()
        self._engine = ReaderEngine(address, self._limits)
        self._authenticate = authenticate
        self._threads = ThreadPoolExecutor(self._limits.concurrent, thread_name_prefix="audit-reader")
        self._admitted = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Open the engine, listen, and answer the port (of interest when 0 was asked for)."""
        await self._in_thread(self._engine.open)
        application = web.Application(client_max_size=self._limits.request_bytes)
        application.router.add_route("GET", "/ping", _ok)
        application.router.add_route("GET", "/replicas_status", _ok)
        application.router.add_route("*", "/", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, max_line_size=_LINE_LIMIT, shutdown_timeout=_STOP_GRACE
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, let running queries end, close the engine. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            await self._in_thread(self._engine.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, request: web.Request) -> web.Response:
        common = self._headers(request)
        try:
            reader = await self._reader(request)
            if request.method == "GET" and "query" not in request.query:
                return web.Response(text="Ok.\n", headers=common)
            if request.method not in ("GET", "POST"):
                return web.Response(status=405, headers={**common, "Allow": "GET, POST"})
            return await self._answer(request, reader, common)
        except (Refused, QueryFailed) as error:
            log.info("audit query refused", code=error.code, query_id=common["X-ClickHouse-Query-Id"])
            return failure(error.code, str(error), common)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request is larger than {self._limits.request_bytes} bytes"
            return failure(_QUERY_TOO_LARGE, message, common)

    async def _reader(self, request: web.Request) -> str:
        credentials = read_credentials(request)
        if not credentials:
            raise Refused("Authentication is required: a bearer token, or a password", _REQUIRED_PASSWORD)
        reader = await self._authenticate(credentials)
        if reader is None:
            message = "Authentication failed: the token or password is incorrect, or there is no such user"
            raise Refused(message, _AUTHENTICATION_FAILED)
        return reader

    async def _answer(self, request: web.Request, reader: str, common: dict[str, str]) -> web.Response:
        query = await read_query(request)
        accepted = request.headers.get("Accept-Encoding", "")
        if request.query.get("enable_http_compression") == "0":
            accepted = ""
        answer, body, encoding = await self._admit(lambda: self._run(query, accepted))
        log.info(
            "audit query",
            reader=reader,
            query_id=common["X-ClickHouse-Query-Id"],
            result_rows=answer.summary["result_rows"],
            elapsed_ns=answer.summary["elapsed_ns"],
        )
        return reply(answer, body, encoding, common)

    def _run(self, query: ReaderQuery, accepted: str) -> tuple[ReaderAnswer, bytes, str | None]:
        answer = self._engine.run(query)
        return answer, *compressed(answer.body, accepted)

    async def _admit(
        self, work: Callable[[], tuple[ReaderAnswer, bytes, str | None]]
    ) -> tuple[ReaderAnswer, bytes, str | None]:
        if self._admitted >= self._limits.concurrent + self._limits.waiting:
            raise QueryFailed(f"Too many simultaneous queries: {self._admitted}", _TOO_MANY_QUERIES)
        self._admitted += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Counted until the thread is free, not until the client has gone away.
        future.add_done_callback(self._released)
        return await asyncio.shield(future)

    def _released(self, future: asyncio.Future[tuple[ReaderAnswer, bytes, str | None]]) -> None:
        self._admitted -= 1
        if not future.cancelled():
            future.exception()  # nobody may be waiting any more; then it was not "never retrieved"

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _headers(self, request: web.Request) -> dict[str, str]:
        return {
            "X-ClickHouse-Server-Display-Name": self._engine.display_name,
            "X-ClickHouse-Query-Id": _query_id(request),
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-Content-Type-Options": "nosniff",  # an audit holds what attackers wrote; no browser shall guess at it
        }


def _query_id(request: web.Request) -> str:
    """The client's own, if it can stand in a header and a log line; a fresh one otherwise."""
    offered = request.query.get("query_id", "")
    return offered if 0 < len(offered) <= 128 and offered.isascii() and offered.isprintable() else str(uuid.uuid4())


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")
