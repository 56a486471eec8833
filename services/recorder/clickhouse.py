"""The recorder's one way to ClickHouse: server or embedded chDB, the same calls. Counterpart: ClickHouse.

clickhouse-connect's client is synchronous for chDB, so everything runs on one dedicated thread and the event
loop only waits. The connection is opened by the first call and again after a failure, so that a recorder
starts, and reports itself not ready, while ClickHouse is down. The error tree stands in `store_errors.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from services.recorder.store_address import Address, EmbeddedAddress, ServerAddress, parse_dsn
from services.recorder.store_errors import StoreError, StoreRejected, StoreUnavailable, translate

T = TypeVar("T")
Row = Sequence[Any]

DEFAULT_TIMEOUT: Final = 30.0  # seconds; JetStream's ack_wait must be longer, or batches are redelivered early
CONNECT_TIMEOUT: Final = 5  # seconds for TCP and TLS to a server
_CALL_GRACE: Final = 5.0  # seconds the transport gets to report its own, more exact, timeout first

# ClickHouse 26.2 turned asynchronous inserts on by default: acknowledged before deduplication is certain, and
# flushed in batches that are not ours. The recorder batches itself and acks JetStream on the reply.
PINNED_INSERT_SETTINGS: Final[Mapping[str, str]] = {"async_insert": "0", "insert_deduplicate": "1"}


class Store:
    """One ClickHouse, spoken to from one thread.

    Every call raises `StoreUnavailable` (try again later) or `StoreRejected` (never will), nothing else. Calls
    are served in order; `timeout` in seconds counts from the call, waiting for earlier calls included.
    """

    def __init__(self, dsn: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Raises ValueError for a DSN that names no store. Connects to nothing yet."""
        self.address: Address = parse_dsn(dsn)
        self._timeout = timeout
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clickhouse")
        self._client: Client | None = None
        self._column_types: dict[tuple[str, str], Any] = {}
        self._closed = False

    async def command(self, sql: str, *, timeout: float | None = None) -> None:
        """Run a statement that answers nothing: DDL, mostly."""
        await self._call(lambda client: client.command(sql), timeout)

    async def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """Answer a SELECT's rows as dicts by column name; `{name:Type}` in the SQL is bound from `parameters`."""
        bound = dict(parameters) if parameters else None
        return await self._call(lambda client: list(client.query(sql, bound).named_results()), timeout)

    async def insert(
        self, table: str, rows: Sequence[Row], column_names: Sequence[str], deduplication_token: str
    ) -> None:
        """Insert rows; returns when ClickHouse has them, or had them before under the same token.

        A token that is reused for *different* rows drops them silently: derive it from what the rows are.
        The table needs `non_replicated_deduplication_window` (or a replicated engine) for the token to count.
        """
        if not deduplication_token:
            raise StoreRejected("an insert needs a deduplication token: without one a redelivery is a duplicate")
        if not rows:
            return
        settings = {**PINNED_INSERT_SETTINGS, "insert_deduplication_token": deduplication_token}
        await self._call(lambda client: self._insert(client, table, rows, column_names, settings), None)

    async def raw_query(
        self, sql: str, fmt: str, settings: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> bytes:
        """Answer a query's result as ClickHouse formats it, whole in memory: meant for small results."""
        extra = dict(settings) if settings else None
        return await self._call(lambda client: client.raw_query(sql, settings=extra, fmt=fmt), timeout)

    async def close(self) -> None:
        """Close the connection and the thread. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):  # a call that hangs in the engine cannot be interrupted from outside
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ below: on the dedicated thread

    async def _call(self, work: Callable[[Client], T], timeout: float | None) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        limit = self._timeout if timeout is None else timeout
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        try:
            async with asyncio.timeout(limit + _CALL_GRACE):
                return await future
        except TimeoutError:
            raise StoreUnavailable(f"no answer from {self.address} within {limit:g} s") from None

    def _run(self, work: Callable[[Client], T]) -> T:
        try:
            return work(self._connected())
        except Exception as error:
            translated = error if isinstance(error, StoreError) else translate(error)
            if translated.code is None:  # ClickHouse did not answer: this connection may be what is broken
                self._disconnect()
            self._column_types.clear()  # the failure may be a column that has changed its type since
            raise translated from error

    def _connected(self) -> Client:
        if self._client is None:
            self._client = _connect(self.address, self._timeout)
        return self._client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _insert(
        self,
        client: Client,
        table: str,
        rows: Sequence[Row],
        column_names: Sequence[str],
        settings: dict[str, str],
    ) -> None:
        types = self._types(client, table, column_names)
        client.insert(table, rows, column_names=list(column_names), column_types=types, settings=settings)

    def _types(self, client: Client, table: str, column_names: Sequence[str]) -> list[Any]:
        """Ask once per table and column, not once per insert."""
        if any((table, name) not in self._column_types for name in column_names):
            context = client.create_insert_context(table)
            for name, column_type in zip(context.column_names, context.column_types, strict=True):
                self._column_types[table, name] = column_type
        try:
            return [self._column_types[table, name] for name in column_names]
        except KeyError as missing:
            # Not a row's fault: a recorder that runs ahead of its migration sees this, and waits.
            raise StoreUnavailable(f"table {table} has no column {missing.args[0][1]}") from None


def _connect(address: Address, timeout: float) -> Client:
    if isinstance(address, EmbeddedAddress):
        return _open_embedded(address, timeout)
    return _open_server(address, timeout)


def _open_embedded(address: EmbeddedAddress, timeout: float) -> Client:
    """Open the directory, owner-only when we make it; the engine itself starts in a fresh `default` database."""
    address.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    client: Client = clickhouse_connect.get_client(
        interface="chdb",
        path=str(address.directory),
        settings={**PINNED_INSERT_SETTINGS, "max_execution_time": str(max(1, int(timeout)))},
    )
    return _with_database(client, address.database)


def _open_server(address: ServerAddress, timeout: float) -> Client:
    client: Client = clickhouse_connect.get_client(
        host=address.host,
        port=address.port,
        interface="https" if address.secure else "http",
        username=address.user,
        password=address.password,
        connect_timeout=CONNECT_TIMEOUT,
        send_receive_timeout=max(1, int(timeout)),
        # A session would stay locked for the rest of a call that timed out, and the retry would fail on it.
        autogenerate_session_id=False,
    )
    return _with_database(client, address.database)


def _with_database(client: Client, database: str) -> Client:
    """Make sure the database exists and is the default of every later call."""
    try:
        known = client.query("SELECT 1 FROM system.databases WHERE name = {name:String}", {"name": database})
        if not known.result_rows:  # asked first: a server's account need not be allowed to create databases
            client.command(f"CREATE DATABASE IF NOT EXISTS `{database.replace('`', '``')}`")
    except Exception:
        client.close()
        raise
    client.database = database
    return client
