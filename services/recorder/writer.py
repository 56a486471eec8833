"""Record one stream: wait for the seat, go on where the last writer ended, store batch after batch.

    acquire the seat ─► resume ─► consumer anew ─► batch ─► claim ─► insert ─► settle ─► ack ─► batch …
          ▲                 ▲                        │
          └──── deposed ────┴──── out of order ◄─────┘

Counterparts: seat.py (who writes), resume.py (from where), intake.py (what comes), inserting.py (where it goes).
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from services.recorder import rows as row_builder
from services.recorder.batch import Delivery, InOrder, OutOfOrder, pieces, reaches, split_at
from services.recorder.clickhouse import Store
from services.recorder.inserting import Batch, GaveUp, Inserter, RowsRejected
from services.recorder.intake import Intake, Source
from services.recorder.metrics import Metrics
from services.recorder.position import Position
from services.recorder.resume import Recorded, StreamState, resume
from services.recorder.rows import Rows
from services.recorder.seat import Deposed, Seat
from services.recorder.store_errors import StoreUnavailable
from services.recorder.tables import ATTEMPTS, DEAD_LETTERS, Table
from services.runtime.tasks import TaskGroup, end

log = structlog.get_logger(__name__)

#: Seconds between two attempts to begin while NATS or ClickHouse is away.
_RETRY: Final = 1.0
#: Seconds between two looks at our consumer, or so many times the longest age of a batch: by then all sent has come.
_CHECK: Final = 2.0
_CHECK_AGES: Final = 3


class StreamWriter:
    """The recorder of one stream in one copy: writer or standby."""

    def __init__(
        self,
        source: Source,
        raw: Table,
        *,
        seat: Seat,
        store: Store,
        jetstream: JetStreamContext,
        metrics: Metrics,
        tasks: TaskGroup,
    ) -> None:
        """`raw` is the table with the bytes of this stream's events. Give it its Intake before `run`."""
        self.source = source
        self.seat = seat
        self.writing = False
        self.intake: Intake
        #: Told which ingresses the events came from (closing.py).
        self.observe: Callable[[Iterable[str]], None] = lambda _: None
        self._consuming = False
        self._raw = raw
        self._store = store
        self._jetstream = jetstream
        self._metrics = metrics
        self._tasks = tasks
        #: Set when the present turn must end; with `_failure` saying why, unless the service stops.
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self._inserter = Inserter(store, metrics, self._ended)
        self._order = InOrder(0)
        self._held: list[Delivery] = []
        self._handling = False
        #: Deliveries that had been sent at the last check, and had not come.
        self._overdue = 0
        metrics.writer.labels(source.stream).set(0)

    @property
    def ready(self) -> bool | str:
        """True as the writer at work, or as a standby for one; else what is missing."""
        if self.writing:
            return self._consuming or "not consuming yet"
        return bool(self.seat.position.writer) or "nobody writes"

    async def run(self) -> None:
        """Record until `stop`. Raises what is nobody's expected failure."""
        while not self._stopping:
            if not await self.seat.take():
                await self._pause(self.seat.lease / 6)
                continue
            log.info("writing", stream=self.source.stream, stored=self.seat.position.stored)
            self._show_writing(True)
            try:
                await self._write_until_deposed()
            except Deposed as error:
                log.warning("another copy writes", stream=self.source.stream, writer=str(error))
            finally:
                self._show_writing(False)
        await self.seat.release()

    def stop(self) -> None:
        """Finish the batch at hand, leave the seat, and let `run` end."""
        self._stopping = True
        self._ended.set()

    async def handle(self, deliveries: list[Delivery], last: Msg) -> None:
        """One fetched batch; the intake's handler. Whatever goes wrong ends the turn."""
        if self._ended.is_set():
            return
        self._handling = True
        try:
            if await self._store_all(self._order.take(deliveries)):
                await last.ack()
        except GaveUp:
            return
        except Exception as error:
            self._end(error)
        finally:
            self._handling = False

    async def _write_until_deposed(self) -> None:
        while not self._stopping:
            try:
                await self._turn()
            except (NatsError, StoreUnavailable) as error:
                log.warning("cannot record yet", stream=self.source.stream, error=str(error) or type(error).__name__)
                await self._pause(_RETRY)
            except OutOfOrder as error:
                log.warning("consumer is made anew", stream=self.source.stream, reason=str(error))

    async def _turn(self) -> None:
        """From resuming to whatever ends it. Raises Deposed, OutOfOrder, NatsError, StoreUnavailable."""
        self._ended.clear()
        self._failure = None
        if self._stopping:
            return
        keeping = self._tasks.start(self._keep_seat(), f"seat of {self.source.stream}")
        try:
            await self._resume()
            await self.intake.start(self._jetstream, self.seat.position.stored)
            self._consuming = True
            try:
                while not await self._pause(max(_CHECK, _CHECK_AGES * self.intake.longest_age)):
                    await self._check_consumer()
            finally:
                self._consuming = False
                await self.intake.stop()
        finally:
            await end(keeping)
        if self._failure:
            raise self._failure

    async def _keep_seat(self) -> None:
        try:
            await self.seat.keep()
        except Deposed as error:
            self._end(error)

    async def _resume(self) -> None:
        state = await stream_state(self._jetstream, self.source.stream)
        recorded = await self._recorded()
        place = resume(self.seat.position, state, recorded, now=time.time_ns() // 1000)
        if place is not None:
            if place.why:
                log.error("going on carefully", stream=self.source.stream, reason=place.why)
            await self.seat.move(lambda now: now.resume(place.epoch, place.stored, place.careful_until))
        self._order = InOrder(self.seat.position.stored)
        self._held, self._overdue = [], 0

    async def _recorded(self) -> Recorded:
        found = [await self._newest(table) for table in (self._raw, DEAD_LETTERS)]
        epoch = max(found)[0]
        events, letters = (last if of == epoch else 0 for of, last in found)
        return Recorded(epoch, events, letters)

    async def _newest(self, table: Table) -> tuple[int, int]:
        rows = await self._store.query(
            f"SELECT epoch, max(stream_seq) AS last FROM {table.name} WHERE stream = {{stream:String}} "  # noqa: S608
            "GROUP BY epoch ORDER BY epoch DESC LIMIT 1",
            {"stream": self.source.stream},
        )
        return (int(rows[0]["epoch"]), int(rows[0]["last"])) if rows else (0, 0)

    async def _check_consumer(self) -> None:
        """Notice what no batch will tell: a consumer that is gone with NATS's data, deliveries that got lost on the way
        to us with nothing behind them. Raises OutOfOrder, NatsError."""
        came = self._order.delivery
        try:
            info = await self._jetstream.consumer_info(self.source.stream, self.source.durable)
        except NotFoundError:
            raise OutOfOrder("the consumer is gone") from None
        sent = (info.delivered.consumer_seq if info.delivered else 0) or 0
        overdue, self._overdue = self._overdue, sent if sent > came and not self._handling else 0
        if overdue > came:
            raise OutOfOrder(f"deliveries up to {overdue} were sent, and {came} came")

    async def _store_all(self, deliveries: list[Delivery]) -> bool:
        """Store these and what was held back; False while they are held back. Raises Deposed, GaveUp."""
        self._held += deliveries
        if not self._held:
            return True  # all of it was stored before
        position = self.seat.position
        if position.open:
            if not reaches(self._held, position.claimed):
                return False
            claimed, self._held = split_at(self._held, position.claimed)
            await self._store_claimed(claimed, again=True)
        batches, self._held = pieces(self._held), []
        for batch in batches:
            await self.seat.move(lambda now, last=batch[-1].seq: now.claim(last))  # type: ignore[misc]
            await self._store_claimed(batch)
        return True

    async def _store_claimed(self, batch: list[Delivery], *, again: bool = False) -> None:
        """Store a claimed range; `again` when somebody may have begun to, and died over it."""
        stream, position = self.source.stream, self.seat.position
        token = position.token(stream)
        rows = await self._inserter.sealed(row_builder.build(batch, stream, position.epoch), stream, token)
        work = Batch(stream, position.epoch, token, {delivery.seq: delivery for delivery in batch}, rows)
        if not position.careful:
            try:
                await self._inserter.write(work, again=again)
                return await self._settle(work)
            except RowsRejected as error:
                log.error("a batch is rejected; writing it row by row", stream=stream, reason=str(error))
                position = await self.seat.move(Position.doubt)
                work.token = position.token(stream)
        while True:
            try:
                await self._inserter.write_carefully(work)
                return await self._settle(work)
            except StoreUnavailable as error:
                log.error("not recording", stream=stream, error=str(error))
                if await self._pause(_RETRY):
                    raise GaveUp(str(error)) from error

    async def _settle(self, work: Batch) -> None:
        await self.seat.move(Position.settle)
        self._metrics.batches.labels(work.stream).inc()
        self.observe(of_ingress(work.rows))
        if letters := work.rows.get(DEAD_LETTERS):
            self._metrics.dead_letters.labels(work.stream).inc(len(letters))

    def _end(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._ended.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait; True at once when the turn has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    def _show_writing(self, writing: bool) -> None:
        self.writing = writing
        self._metrics.writer.labels(self.source.stream).set(int(writing))


def of_ingress(rows: Rows) -> set[str]:
    """The ingresses that attempts among the rows came from."""
    column = ATTEMPTS.columns.index("ingress")
    return {row[column] for row in rows.get(ATTEMPTS, ())}


async def stream_state(jetstream: JetStreamContext, stream: str) -> StreamState:
    """Creation and last sequence. Raises nats errors."""
    info = await jetstream.stream_info(stream)
    created = info.created
    assert isinstance(created, datetime)
    return StreamState(int(created.timestamp() * 1_000_000), info.state.last_seq)
