"""A recorder's parts in the test's process: a fresh database on the shared engine, and writers on a real bus."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from faststream.nats import NatsBroker
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from schemas import subjects as s
from schemas.events import Event
from services.recorder.clickhouse import Row, Store
from services.recorder.intake import Intake, Source
from services.recorder.keyring import Keyring
from services.recorder.metrics import make_metrics
from services.recorder.migrate import migrate
from services.recorder.rows import build
from services.recorder.seat import Seat, Writer
from services.recorder.store_errors import StoreRejected, StoreUnavailable
from services.recorder.tables import EVENTS, SESSION_FRAMES
from services.recorder.writer import StreamWriter
from services.runtime.nats.broker import make_broker
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus
from tests.recorder import events as e

AUDIT = Source(s.AUDIT_STREAM, s.AUDIT_SUBJECTS, "recorder")
RECORDING = Source(s.RECORDING_STREAM, s.RECORDING_SUBJECTS, "recorder-frames")
#: Seconds; a test waits for it whenever a writer dies without leaving.
LEASE = 0.6


class Moody(Store):
    """A store that is away, or refuses rows, when a test says so; otherwise it is ClickHouse."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.address = dataclasses.replace(self.address, database=f"t{uuid.uuid4().hex[:12]}")
        self.away = False
        #: The answer to these many inserts is lost after ClickHouse took the rows.
        self.answers_lost = 0
        #: Rows whose `operation_id` is here are refused.
        self.poison: set[str] = set()
        self.refused = 0
        self.inserts: list[tuple[str, str]] = []

    async def insert(
        self, table: str, rows: Sequence[Row], column_names: Sequence[str], deduplication_token: str
    ) -> None:
        if self.away:
            self.refused += 1
            raise StoreUnavailable("away")
        if table == "attempts" and self.poison.intersection(row[column_names.index("operation_id")] for row in rows):
            raise StoreRejected("poison")
        self.inserts.append((table, deduplication_token))
        await super().insert(table, rows, column_names, deduplication_token)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailable("no answer")

    async def count(self, table: str = "events", what: str = "count()") -> int:
        rows = await self.query(f"SELECT {what} AS n FROM {table}")
        return int(rows[0]["n"])


@asynccontextmanager
async def database(dsn: str) -> AsyncIterator[Moody]:
    """A migrated database of its own, dropped at the end."""
    store = Moody(dsn)
    await migrate(store)
    yield store
    await store.command(f"DROP DATABASE {store.address.database}")  # type: ignore[union-attr]
    await store.close()


async def record(store: Store, events: Iterable[Event], stream: str = "AUDIT", epoch: int = 1) -> None:
    """Store events as the writer does, behind what is there."""
    (there,) = await store.query(
        "SELECT max(stream_seq) AS n FROM log_entries WHERE stream = {s:String} AND epoch = {e:UInt64}",
        {"s": stream, "e": epoch},
    )
    token = f"test-{stream}-{epoch}-{there['n']}"
    rows = await Keyring(store).sealed(build(e.deliveries(events, int(there["n"]) + 1), stream, epoch), stream, token)
    for table, made in rows.items():
        await store.insert(table.name, made, table.columns, f"{token}:{table.name}")


class Copy:
    """One recorder copy's writer of one stream."""

    def __init__(self, writer: StreamWriter, client: Client, broker: NatsBroker, tasks: TaskGroup) -> None:
        self.writer, self.client, self.broker, self.tasks = writer, client, broker, tasks
        self.errors: list[BaseException] = []
        self.run: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.run = self.tasks.start(self.writer.run(), "run")

    async def stop(self) -> None:
        """Leave in an orderly way."""
        self.writer.stop()
        if self.run:
            await asyncio.wait_for(self.run, 60)

    async def kill(self) -> None:
        """Stop dead: nothing is finished, nothing is told to anybody."""
        await self.client.close()
        await self.broker.connection.close()
        for task in self.writer.intake._subscriber.tasks:
            task.cancel()
        await self.tasks.cancel()


class Copies:
    """Makes recorder copies that share a store, and ends them."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self.bus, self.store = bus, store
        self._stack = AsyncExitStack()

    async def make(self, name: str, source: Source = AUDIT, *, rows: int = 500, lease: float = LEASE) -> Copy:
        client = await self.bus.connect("recorder")
        broker = make_broker(self.bus.address("recorder"))
        await broker.connect()
        errors: list[BaseException] = []
        tasks = TaskGroup(name, on_error=errors.append)
        jetstream = client.jetstream()
        writer = StreamWriter(
            source,
            EVENTS if source is AUDIT else SESSION_FRAMES,
            seat=Seat(await jetstream.key_value(s.RECORDER_BUCKET), source.stream, Writer(name), lease=lease),
            store=self.store,
            jetstream=jetstream,
            metrics=make_metrics(CollectorRegistry()),
            tasks=tasks,
        )
        writer.intake = Intake(broker, source, writer.handle, rows=rows, age=0.05)
        copy = Copy(writer, client, broker, tasks)
        copy.errors = errors
        self._stack.push_async_callback(self._end, copy)
        return copy

    async def close(self) -> None:
        await self._stack.aclose()

    async def _end(self, copy: Copy) -> None:
        copy.writer.stop()
        await copy.tasks.cancel()
        if copy.broker.connection.is_connected:
            await copy.broker.stop()
        assert not copy.errors
