"""Deliveries on the real record and bus: everything, in order, again until it is taken, never twice without need."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from aiohttp import web
from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry

from schemas import subjects as s
from schemas.events import OperationFinished
from services.recorder.delivery.deliverer import Deliverer, Receiver
from services.recorder.delivery.metrics import make_delivery_metrics
from services.recorder.delivery.place import Bookmark, Moved, Place
from services.recorder.delivery.syslog import SyslogDatagrams, SyslogStream
from services.recorder.delivery.webhook import Webhook, signature
from services.runtime.tasks import TaskGroup, end
from tests.conftest import Bus, until
from tests.record_use.test_export import check
from tests.recorder import events as e
from tests.recorder.recording import Moody, database, record

pytestmark = pytest.mark.usefixtures("open_engine")

KEY = b"k" * 32


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


@pytest.fixture
async def bucket(bus: Bus) -> KeyValue:
    return await (await bus.connect("recorder")).jetstream().key_value(s.RECORDER_BUCKET)


async def recorded(store: Moody, count: int) -> list[str]:
    """So many more finished operations; their ids in order."""
    events = list(e.stories(count))
    await record(store, events)
    return [event.operation_id for event in events if isinstance(event, OperationFinished)]


@dataclass
class Siem:
    """A receiver of POSTs that takes, refuses, or dies, as a test says."""

    url: str = ""
    taken: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    #: Answers before it takes anything: a status, or None to hang up.
    moods: list[int | None] = field(default_factory=list)
    most: int = 10_000

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert request.headers["webhook-signature"] == signature(
            KEY, request.headers["webhook-id"], int(request.headers["webhook-timestamp"]), body
        )
        lines = [json.loads(line) for line in body.splitlines()]
        self.sizes.append(len(lines))
        if self.moods:
            mood = self.moods.pop(0)
            if mood is None:
                assert request.transport
                request.transport.abort()
                return web.Response()
            return web.Response(status=mood, headers={"Retry-After": "0", "Location": "http://127.0.0.1:1/"})
        if len(lines) > self.most:
            return web.Response(status=413)
        self.heads.append(dict(request.headers))
        self.taken += lines
        return web.Response(status=202)

    @property
    def operations(self) -> list[str]:
        return [event["metadata"]["uid"] for event in self.taken]


@pytest.fixture
async def siem() -> AsyncIterator[Siem]:
    siem = Siem()
    application = web.Application(client_max_size=64 * 1024**2)
    application.router.add_post("/in", siem.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    siem.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    yield siem
    await runner.cleanup()


class Delivering:
    """A deliverer at work, and what an operator sees of it."""

    def __init__(self, registry: CollectorRegistry, bookmark: Bookmark) -> None:
        self.registry, self.bookmark = registry, bookmark
        self.writing = True
        self.task: asyncio.Task[None] | None = None

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(f"countersign_delivery_{name}", {"receiver": "siem"}) or 0.0


@asynccontextmanager
async def delivering(
    store: Moody, bucket: KeyValue, receiver: Receiver, *, stored: Callable[[], Place] | None = None, **options: Any
) -> AsyncIterator[Delivering]:
    registry = CollectorRegistry()
    bookmark = Bookmark(bucket, "siem")
    deliverer = Deliverer(
        "siem",
        receiver,
        store=store,
        bookmark=bookmark,
        stored=stored or (lambda: Place(1, 10**9)),
        metrics=make_delivery_metrics(registry),
        **({"idle": 0.02, "first_wait": 0.02, "from_beginning": True} | options),
    )
    errors: list[BaseException] = []
    tasks = TaskGroup("test", on_error=errors.append)
    work = Delivering(registry, bookmark)
    work.task = tasks.start(deliverer.run(lambda: work.writing), "delivery")
    try:
        yield work
    finally:
        await end(work.task)
        assert errors == []


def webhook(siem: Siem, **options: Any) -> Webhook:
    return Webhook(siem.url, KEY, **options)


async def test_every_operation_arrives_once_in_order_and_valid(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    expected = await recorded(store, 25)
    async with delivering(store, bucket, webhook(siem, headers={"Authorization": "Splunk 1"}), batch=10) as work:
        await until(lambda: len(siem.taken) == 25)
        expected += await recorded(store, 5)
        await until(lambda: len(siem.taken) == 30)
        await until(lambda: work.metric("operations_total") == 30)
    assert siem.operations == expected
    assert siem.sizes == [10, 10, 5, 5]
    assert {head["Authorization"] for head in siem.heads} == {"Splunk 1"}
    assert siem.heads[0]["Content-Type"] == "application/x-ndjson"
    for event in siem.taken:
        check(event)


async def test_what_is_refused_is_sent_again_until_it_is_taken(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    expected = await recorded(store, 12)
    siem.moods = [500, None, 429, 302, 400]
    async with delivering(store, bucket, webhook(siem), batch=5) as work:
        await until(lambda: len(siem.taken) == 12)
        await until(lambda: work.metric("lag_seconds") == 0)
        assert work.metric("refused_total") == 5
    assert siem.operations == expected


async def test_a_batch_that_is_too_large_is_halved(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    expected = await recorded(store, 12)
    siem.most = 2
    async with delivering(store, bucket, webhook(siem), batch=12):
        await until(lambda: len(siem.taken) == 12)
    assert siem.operations == expected


async def test_the_place_survives_a_restart(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    expected = await recorded(store, 8)
    async with delivering(store, bucket, webhook(siem)) as work:
        await until(lambda: work.metric("operations_total") == 8)
    expected += await recorded(store, 4)
    async with delivering(store, bucket, webhook(siem)):
        await until(lambda: len(siem.taken) >= 12)
    assert siem.operations == expected


async def test_a_new_receiver_begins_now(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    await recorded(store, 3)
    (last,) = await store.query("SELECT max(stream_seq) AS seq FROM events")
    stored = Place(1, int(last["seq"]))
    async with delivering(store, bucket, webhook(siem), from_beginning=False, stored=lambda: stored) as work:
        await until(lambda: work.bookmark.place == stored)
        expected = await recorded(store, 2)
        stored = Place(1, 10**9)
        await until(lambda: len(siem.taken) == 2)
    assert siem.operations == expected


async def test_nothing_is_sent_that_is_not_stored_for_good(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    expected = await recorded(store, 4)
    stored = Place(1, 6)  # a story is three events: two of them are behind
    async with delivering(store, bucket, webhook(siem), stored=lambda: stored):
        await until(lambda: len(siem.taken) == 2)
        stored = Place(1, 12)
        await until(lambda: len(siem.taken) == 4)
    assert siem.operations == expected


async def test_a_standby_sends_nothing_and_goes_on_where_the_other_stopped(
    store: Moody, bucket: KeyValue, siem: Siem
) -> None:
    expected = await recorded(store, 6)
    async with delivering(store, bucket, webhook(siem)) as first:
        await until(lambda: first.metric("operations_total") == 6)
        first.writing = False
        async with delivering(store, bucket, webhook(siem)) as second:
            expected += await recorded(store, 3)
            await until(lambda: second.metric("operations_total") == 3)
            second.writing = False
            first.writing = True
            expected += await recorded(store, 2)
            await until(lambda: first.metric("operations_total") == 8)
    assert siem.operations == expected


async def test_two_that_both_think_it_is_theirs_lose_nothing(store: Moody, bucket: KeyValue, siem: Siem) -> None:
    async with delivering(store, bucket, webhook(siem), batch=3), delivering(store, bucket, webhook(siem), batch=3):
        expected = await recorded(store, 30)
        await until(lambda: set(siem.operations) == set(expected))


async def test_a_place_moved_by_somebody_else_is_noticed(bucket: KeyValue) -> None:
    ours, theirs = Bookmark(bucket, "siem"), Bookmark(bucket, "siem")
    assert await ours.load(Place(1, 5)) == Place(1, 5)
    assert await theirs.load(Place()) == Place(1, 5)
    await theirs.move(Place(1, 9))
    with pytest.raises(Moved):
        await ours.move(Place(1, 7))


async def test_a_record_that_is_away_is_waited_for(
    store: Moody, bucket: KeyValue, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.recorder.store_errors import StoreUnavailable

    expected = await recorded(store, 3)
    asked = 0
    whole = Moody.query

    async def away(self: Moody, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise StoreUnavailable("away")
        return await whole(self, *arguments, **options)

    monkeypatch.setattr(Moody, "query", away)
    async with delivering(store, bucket, webhook(siem)):
        await until(lambda: len(siem.taken) == 3)
    assert siem.operations == expected


# Syslog


class Collector:
    """A syslog server: counted octets on a stream, messages as they come."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        #: Connections that are cut after so many messages each.
        self.cut_after: list[int] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        left = self.cut_after.pop(0) if self.cut_after else -1
        try:
            while left:
                length = int((await reader.readuntil(b" ")).decode())
                self.messages.append(await reader.readexactly(length))
                left -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.transport.abort()

    @property
    def operations(self) -> list[str]:
        return [json.loads(message.partition(b"\xef\xbb\xbf")[2])["metadata"]["uid"] for message in self.messages]


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Collector, int]]:
    collector = Collector()
    server = await asyncio.start_server(collector.handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield collector, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in collector.connections:
            writer.transport.abort()
        await server.wait_closed()


async def test_syslog_over_tls(store: Moody, bucket: KeyValue) -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    expected = await recorded(store, 7)
    async with collecting(theirs) as (collector, port):
        async with delivering(store, bucket, SyslogStream("localhost", port, tls=ours), batch=3):
            await until(lambda: len(collector.messages) == 7)
        assert len(collector.connections) == 1
    assert collector.operations == expected
    assert all(message.startswith(b"<110>1 ") for message in collector.messages)


async def test_syslog_to_a_stranger_is_not_sent(store: Moody, bucket: KeyValue) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(theirs)
    await recorded(store, 1)
    async with collecting(theirs) as (collector, port):
        receiver = SyslogStream("localhost", port, tls=ssl.create_default_context())
        async with delivering(store, bucket, receiver) as work:
            await until(lambda: work.metric("refused_total") >= 2)
        assert collector.messages == []


async def test_a_broken_syslog_connection_loses_nothing(store: Moody, bucket: KeyValue) -> None:
    expected = await recorded(store, 20)
    async with collecting() as (collector, port):
        collector.cut_after = [7, 1]
        async with delivering(store, bucket, SyslogStream("127.0.0.1", port), batch=4):
            await until(lambda: set(collector.operations) == set(expected))
    assert list(dict.fromkeys(collector.operations[-4:])) == expected[-4:]


async def test_syslog_over_udp(store: Moody, bucket: KeyValue) -> None:
    collector = Collector()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            collector.messages.append(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    expected = await recorded(store, 3)
    async with delivering(store, bucket, SyslogDatagrams("127.0.0.1", transport.get_extra_info("sockname")[1])):
        await until(lambda: len(collector.messages) == 3)
    transport.close()
    assert collector.operations == expected
