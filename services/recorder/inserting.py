"""Put a batch's rows into ClickHouse, each exactly once. Counterparts: rows.py makes them, clickhouse.py takes them.

While ClickHouse is away an insert is tried again with the same token, for as long as it takes: the events wait in
JetStream. Rows that ClickHouse will never take are found by halving and become dead letters.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from schemas.base import new_id
from services.recorder.batch import Delivery
from services.recorder.clickhouse import Store
from services.recorder.keyring import Keyring
from services.recorder.metrics import Metrics
from services.recorder.row_values import Row
from services.recorder.rows import Rows, dead_letter
from services.recorder.store_errors import StoreRejected, StoreUnavailable
from services.recorder.tables import DEAD_LETTERS, SESSION_KEYS, WRITING_ORDER, Table

log = structlog.get_logger(__name__)

#: Seconds between attempts while ClickHouse is away: doubling from the first to the last.
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
#: Where every row of a table is rejected, and there are more than this, the rows are not to blame but the table.
_ALL_BAD: Final = 20


class RowsRejected(Exception):
    """ClickHouse will not take a batch as it is; nothing of this table was inserted, of earlier ones everything."""


class GaveUp(Exception):
    """The service stops, or lost its seat: the batch is left to whoever comes next."""


@dataclass
class Batch:
    """Rows of one claimed range, with the messages they were made from."""

    stream: str
    epoch: int
    token: str
    deliveries: Mapping[int, Delivery]
    rows: Rows


class Inserter:
    """Writes batches, one at a time."""

    def __init__(self, store: Store, metrics: Metrics, ended: asyncio.Event) -> None:
        """`ended` makes it give up between two attempts."""
        self._store = store
        self._keyring = Keyring(store)
        self._metrics = metrics
        self._ended = ended
        self._repeated = False

    async def sealed(self, rows: Rows, stream: str, token: str) -> Rows:
        """The rows with their content sealed, their keys stored before them. Raises GaveUp."""

        async def seal() -> None:
            done.update(await self._keyring.sealed(rows, stream, token))

        done: Rows = {}
        await self._persist(seal, SESSION_KEYS)
        return done

    async def write(self, batch: Batch, *, again: bool = False) -> None:
        """Insert all rows under tokens of the batch. Raises RowsRejected, GaveUp.

        An insert that is repeated, here or because somebody died over it (`again`), is in doubt: ClickHouse notes a
        token before it commits the rows, so a kill in between leaves a token without rows, and the repeat is dropped.
        Then it looks, table by table, and fills in what is not there.
        """
        for table in WRITING_ORDER:
            if rows := batch.rows.get(table):
                self._repeated = again
                try:
                    await self._insert(table, rows, f"{batch.token}:{table.name}")
                    while self._repeated and (missing := await self._missing(table, rows)):
                        log.warning("rows of a noted token are filled in", table=table.name, rows=len(missing))
                        await self._insert(table, missing, f"{batch.token}:{table.name}:{new_id()}")
                except StoreRejected as error:
                    raise RowsRejected(f"{table.name}: {error}") from error

    async def write_carefully(self, batch: Batch) -> None:
        """Insert the rows that are not there yet; bury those that ClickHouse will not take. Raises GaveUp."""
        for table in WRITING_ORDER:
            if rows := await self._missing(table, batch.rows.get(table, [])):
                rejected = await self._insert_halving(table, rows, f"{batch.token}:{table.name}")
                await self._bury(batch, table, rejected, len(rows))

    async def _insert(self, table: Table, rows: Sequence[Row], token: str) -> None:
        """Raises StoreRejected, GaveUp."""

        async def insert() -> None:
            with self._metrics.insert_seconds.labels(table.name).time():
                await self._store.insert(table.name, rows, table.columns, token)

        await self._persist(insert, table)
        self._metrics.rows.labels(table.name).inc(len(rows))

    async def _missing(self, table: Table, rows: Sequence[Row]) -> Sequence[Row]:
        """Those of the rows whose event is not in the table. Raises GaveUp."""
        if not rows:
            return rows
        event_id, published_at = table.columns.index("event_id"), table.columns.index("published_at")
        moments = [row[published_at] for row in rows]

        async def ask() -> None:
            answer.extend(
                await self._store.query(
                    f"SELECT event_id FROM {table.name} WHERE published_at >= fromUnixTimestamp64Micro({{a:Int64}}) "  # noqa: S608 - a constant's name
                    "AND published_at <= fromUnixTimestamp64Micro({b:Int64})",
                    {"a": min(moments), "b": max(moments)},
                )
            )

        answer: list[dict[str, Any]] = []
        await self._persist(ask, table)
        there = {row["event_id"] for row in answer}
        return [row for row in rows if row[event_id] not in there]

    async def _insert_halving(self, table: Table, rows: Sequence[Row], token: str) -> list[tuple[Row, str]]:
        """Insert what can be inserted; the rows that cannot, with the reason. Raises GaveUp."""
        try:
            await self._insert(table, rows, token)
        except StoreRejected as error:
            if len(rows) == 1:
                return [(rows[0], str(error))]
            half = len(rows) // 2
            return [
                *await self._insert_halving(table, rows[:half], f"{token}:0"),
                *await self._insert_halving(table, rows[half:], f"{token}:1"),
            ]
        return []

    async def _bury(self, batch: Batch, table: Table, rejected: list[tuple[Row, str]], of: int) -> None:
        """Rejected rows become dead letters. Raises GaveUp, StoreUnavailable when it must be the table's fault."""
        if not rejected:
            return
        reason = rejected[0][1]
        if len(rejected) == of > _ALL_BAD:
            raise StoreUnavailable(f"every row for {table.name} is rejected: {reason}")
        log.error("rows rejected", stream=batch.stream, table=table.name, rows=len(rejected), reason=reason)
        self._metrics.dead_letters.labels(batch.stream).inc(len(rejected))
        column = table.columns.index("stream_seq")
        letters = [
            dead_letter(batch.deliveries[row[column]], batch.stream, batch.epoch, f"{table.name}: {why}")
            for row, why in rejected
        ]
        if letters := list(await self._missing(DEAD_LETTERS, letters)):
            token = f"{batch.token}:{table.name}:rejected"
            letters = (await self.sealed({DEAD_LETTERS: letters}, batch.stream, token))[DEAD_LETTERS]
            await self._insert(DEAD_LETTERS, letters, token)

    async def _persist(self, work: Callable[[], Awaitable[None]], table: Table) -> None:
        """Try until ClickHouse answers, yes or no. Raises StoreRejected, GaveUp."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(StoreUnavailable),
                wait=wait_exponential_jitter(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT, jitter=_FIRST_WAIT),
                stop=lambda _: self._ended.is_set(),
                sleep=self._sleep,
                before_sleep=lambda state: self._report(state, table),
                reraise=True,
            ):
                with attempt:
                    await work()
        except StoreUnavailable as error:
            raise GaveUp(str(error)) from error

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def _report(self, state: RetryCallState, table: Table) -> None:
        self._repeated = True
        self._metrics.insert_retries.labels(table.name).inc()
        error = state.outcome.exception() if state.outcome else None
        log.warning("clickhouse is away; events wait in the stream", table=table.name, error=str(error))
