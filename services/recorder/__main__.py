"""`python -m services.recorder`: every event of the bus into ClickHouse, exactly once. Copies stand by."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiohttp import web
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.js import JetStreamContext
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from schemas import subjects as s
from schemas.base import new_id
from services.recorder.access import authenticator
from services.recorder.clickhouse import Store
from services.recorder.closing import Closer
from services.recorder.completeness import keep_counted
from services.recorder.delivery.place import Place
from services.recorder.delivery.start import start_deliveries
from services.recorder.erasing import keep_erased
from services.recorder.health import StoreHealth
from services.recorder.intake import Intake, Source
from services.recorder.keyring import Keyring
from services.recorder.lag import keep_measured
from services.recorder.metrics import Metrics, make_metrics
from services.recorder.migrate import MigrationError, migrate
from services.recorder.place import DirectoryLock, located
from services.recorder.position import Position
from services.recorder.proof.note import origin, verifier_key
from services.recorder.readonly_http import EmbeddedClickHouse
from services.recorder.retaining import Retainer
from services.recorder.sealer import Sealer
from services.recorder.seat import Seat, Writer
from services.recorder.store_address import EmbeddedAddress
from services.recorder.store_errors import StoreUnavailable
from services.recorder.tables import EVENTS, SESSION_FRAMES, Table
from services.recorder.tag_retention import TagRetention
from services.recorder.trimming import keep_trimmed
from services.recorder.witnesses import mailboxes, to_all
from services.recorder.writer import StreamWriter
from services.runtime import admin, keys
from services.runtime.data_dir import replace
from services.runtime.identity.local import LocalKeys
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.nats.broker import make_broker
from services.runtime.nats.client import address, connect
from services.runtime.service import Context, run
from services.runtime.settings import Address, SettingsError, reveal

log = structlog.get_logger(__name__)

#: What is recorded, and the table with its raw bytes.
SOURCES: tuple[tuple[Source, Table], ...] = (
    (Source(s.AUDIT_STREAM, s.AUDIT_SUBJECTS, "recorder"), EVENTS),
    (Source(s.RECORDING_STREAM, s.RECORDING_SUBJECTS, "recorder-frames"), SESSION_FRAMES),
)


@dataclass
class Parts:
    """What the parts of the service share."""

    context: Context
    store: Store
    #: Another connection, for what may take half an hour: a retention, an erasure, a count over everything. Calls on
    #: one connection wait for each other, and an insert must not.
    housekeeping: Store
    lock: DirectoryLock | None
    client: Client
    broker: NatsBroker
    metrics: Metrics
    #: Connections of their own, for who must not wait for inserts nor make them wait.
    others: list[Store] = field(default_factory=list)

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on our plain connection; the broker's own serves the subscribers."""
        return self.client.jetstream()


@dataclass
class Running:
    """The parts of a started service."""

    parts: Parts
    writers: tuple[StreamWriter, ...]
    recording: asyncio.Task[None]
    readers: "Readers | None"
    runner: web.AppRunner

    async def stop(self) -> None:
        """Finish the batches at hand, give up the seats, close."""
        for writer in self.writers:
            writer.stop()
        _, late = await asyncio.wait({self.recording}, timeout=self.parts.context.settings.limits.drain)
        for task in late:
            task.cancel()
        await self.parts.context.tasks.cancel()
        if self.readers:
            await self.readers.stop()
        await self.parts.broker.stop()
        await self.parts.client.close()
        for store in (self.parts.store, self.parts.housekeeping, *self.parts.others):
            await store.close()
        if self.parts.lock:
            self.parts.lock.release()
        await self.runner.cleanup()


@dataclass
class Readers:
    """The embedded endpoint and what it needs."""

    endpoint: EmbeddedClickHouse
    verifier: TokenVerifier

    async def stop(self) -> None:
        """End running queries, close."""
        await self.endpoint.stop()
        await self.verifier.close()


#: The logs' public keys, for `countersign audit verify` on this machine.
VERIFIER_KEYS = "log.vkey"

#: How far recording steps back where it shares cores with ingress and policy: the events are durable in JetStream
#: already, so an insert may wait and an agent need not (`countersign_recorder_lag_seconds` shows by how much).
YIELDS = 5


async def start(context: Context) -> Running:
    """Open the database, connect, then record; with a ClickHouse server that is away, as soon as it is there."""
    parts = await _connect(context)
    health = StoreHealth(parts.store)
    writers = await _writers(parts)
    embedded = isinstance(parts.store.address, EmbeddedAddress)
    if embedded:
        await _migrate(parts.store)
    recording = context.tasks.start(_record(parts, writers), "recording")
    context.tasks.start(health.keep_asking(), "clickhouse health")
    context.health.checks |= {
        "bus": lambda: (parts.client.is_connected and parts.broker.connection.is_connected) or "not connected",
        "clickhouse": health.check,
        **{f"stream {writer.source.stream}": _check(writer) for writer in writers},
    }
    readers = await _serve_readers(parts) if embedded else None
    runner, context.listening["recorder"] = await admin.serve(
        admin.application(context.health, context.registry), context.settings.listen.recorder
    )
    _step_back()
    return Running(parts, writers, recording, readers, runner)


def _step_back() -> None:
    """Once it has started: every thread, for on Linux each has a niceness of its own, ClickHouse's too."""
    threads = Path("/proc/self/task")
    for thread in threads.iterdir() if threads.is_dir() else ():
        with suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, int(thread.name), YIELDS)


async def _connect(context: Context) -> Parts:
    dsn = located(reveal(context.settings.audit.dsn, "audit.dsn"), context.data)
    store, housekeeping = Store(dsn), Store(dsn)
    lock = None
    if isinstance(store.address, EmbeddedAddress):
        lock = DirectoryLock(store.address.directory)
        lock.acquire()
    bus = address("recorder", context.settings.nats, context.data)
    client = await connect(bus)
    broker = make_broker(bus, context.registry, context.tracer_provider)
    await broker.connect()
    return Parts(context, store, housekeeping, lock, client, broker, make_metrics(context.registry))


async def _writers(parts: Parts) -> tuple[StreamWriter, ...]:
    bucket = await parts.jetstream.key_value(s.RECORDER_BUCKET)
    place = f"{socket.gethostname()}:{parts.store.address}" if parts.lock else ""
    us = Writer(new_id(), place)
    audit = parts.context.settings.audit
    writers = []
    for source, raw in SOURCES:
        writer = StreamWriter(
            source,
            raw,
            seat=Seat(bucket, source.stream, us),
            store=parts.store,
            jetstream=parts.jetstream,
            metrics=parts.metrics,
            tasks=parts.context.tasks,
        )
        writer.intake = Intake(parts.broker, source, writer.handle, rows=audit.batch_rows, age=audit.batch_age)
        writers.append(writer)
    return tuple(writers)


async def _record(parts: Parts, writers: tuple[StreamWriter, ...]) -> None:
    """Bring the database up to date and write the streams until the service stops."""
    await _migrate(parts.store)
    tasks, metrics, jetstream = parts.context.tasks, parts.metrics, parts.jetstream
    for writer in writers:
        stream, stored = writer.source.stream, _stored(writer)
        tasks.start(keep_measured(jetstream, stream, stored, metrics), f"lag of {stream}")
        tasks.start(
            keep_trimmed(jetstream, stream, position=stored, writing=_writes(writer), metrics=metrics),
            f"size of {stream}",
        )
    await _watch_ingresses(parts, writers[0])
    _start_sealing(parts, writers)
    await _start_deliveries(parts, writers[0])
    await asyncio.gather(*(tasks.start(writer.run(), writer.source.stream) for writer in writers))


async def _watch_ingresses(parts: Parts, audit: StreamWriter) -> None:
    closer = Closer(
        ingresses=await parts.jetstream.key_value(s.INGRESSES_BUCKET),
        jetstream=parts.jetstream,
        store=parts.store,
        metrics=parts.metrics,
        stored=_stored(audit),
    )
    audit.observe = closer.absences.saw
    parts.context.tasks.start(closer.run(_writes(audit)), "closing")
    parts.context.tasks.start(keep_counted(parts.housekeeping, _writes(audit), parts.metrics), "completeness")


def _start_sealing(parts: Parts, writers: tuple[StreamWriter, ...]) -> None:
    """The log of each stream, its witnesses, and erasures."""
    audit, tasks = parts.context.settings.audit, parts.context.tasks
    key = keys.log_key(audit.signing_key, parts.context.data)
    names = [verifier_key(key, origin(audit.log, writer.source.stream)) for writer in writers]
    replace(parts.context.data.keys / VERIFIER_KEYS, "".join(f"{name}\n" for name in names).encode())
    boxes = mailboxes(audit, parts.metrics)
    for box, place in zip(boxes, audit.witnesses, strict=True):
        tasks.start(box.deliver(), f"witness {place.partition(':')[0]}")
    for writer in writers:
        sealer = Sealer(
            parts.store,
            writer.source.stream,
            origin=origin(audit.log, writer.source.stream),
            key=key,
            position=_position(writer),
            metrics=parts.metrics,
            publish=to_all(boxes),
            window=audit.checkpoint_events,
        )
        tasks.start(sealer.run(_writes(writer), audit.checkpoint_every), f"seal of {writer.source.stream}")
        if audit.retention is not None:
            retainer = Retainer(
                parts.housekeeping, writer.source.stream, origin=sealer.origin, key=key, retention=audit.retention
            )
            tasks.start(retainer.run(_writes(writer)), f"retention of {writer.source.stream}")
    if audit.retention_by_tag:
        by_tag = TagRetention(parts.housekeeping, parts.jetstream, audit.retention_by_tag)
        tasks.start(by_tag.run(_writes(writers[0])), "retention by tag")
    tasks.start(keep_erased(parts.housekeeping, _writes(writers[0]), parts.metrics), "erasures")


async def _start_deliveries(parts: Parts, audit: StreamWriter) -> None:
    context, position = parts.context, _position(audit)
    parts.others += start_deliveries(
        context.settings.audit.deliver,
        dsn=located(reveal(context.settings.audit.dsn, "audit.dsn"), context.data),
        bucket=await parts.jetstream.key_value(s.RECORDER_BUCKET),
        stored=lambda: Place(position().epoch, position().stored),
        writing=_writes(audit),
        registry=context.registry,
        tasks=context.tasks,
    )


async def _migrate(store: Store) -> None:
    """Try while ClickHouse is away. Raises SettingsError when code and database do not fit."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable), wait=wait_exponential(multiplier=0.2, max=5), reraise=True
    ):
        with attempt:
            try:
                if applied := await migrate(store):
                    log.info("database migrated", versions=applied)
                await Keyring(store).prepare()
            except MigrationError as error:
                raise SettingsError(str(error)) from error


async def _serve_readers(parts: Parts) -> Readers:
    context, location = parts.context, parts.store.address
    assert isinstance(location, EmbeddedAddress)
    identity = context.settings.identity
    local = LocalKeys(context.data.keys) if identity.accepts_local else None
    try:
        verifier = TokenVerifier(identity.issuers, local)
    except (ValueError, OSError) as error:
        raise SettingsError(f"countersign.yaml: {error}") from None
    password = context.data.secret_file(context.data.audit_password.name).read_text()
    listen = context.settings.listen.clickhouse
    endpoint = EmbeddedClickHouse(location, authenticator(password, verifier, context.settings.audit.readers))
    port = await endpoint.start(listen.host, listen.port)
    context.listening["clickhouse"] = Address(host=listen.host, port=port)
    context.tasks.start(verifier.keep_fresh(), "issuers")
    return Readers(endpoint, verifier)


def _stored(writer: StreamWriter) -> Callable[[], int]:
    return lambda: writer.seat.position.stored


def _position(writer: StreamWriter) -> Callable[[], Position]:
    return lambda: writer.seat.position


def _writes(writer: StreamWriter) -> Callable[[], bool]:
    return lambda: writer.writing


def _check(writer: StreamWriter) -> Callable[[], bool | str]:
    """Ready as the writer that writes, or as a standby that sees one."""
    return lambda: writer.ready


if __name__ == "__main__":
    run("recorder", start)
