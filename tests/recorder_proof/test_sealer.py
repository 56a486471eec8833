"""The sealer on a real database: grows with what is stored, survives crashes, and signs nothing over a changed tree."""

from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from schemas.events import Event
from services.recorder.metrics import make_metrics
from services.recorder.position import Position
from services.recorder.proof.leaf import Entry, raw_hash
from services.recorder.proof.merkle import leaf_hash, root_of
from services.recorder.proof.note import Checkpoint, verifier_key, verify
from services.recorder.sealer import Broken, Sealer
from services.recorder.store_errors import StoreUnavailable
from services.recorder.tree_store import MissingHash
from tests.recorder import events as e
from tests.recorder.recording import Moody, database, record

pytestmark = pytest.mark.usefixtures("open_engine")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "example.com/audit"


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


class Log:
    """A recorder's stream with its sealer; `crash` begins anew from what is stored."""

    def __init__(self, store: Moody, window: int = 20_000) -> None:
        self.store, self.window = store, window
        self.position = Position(epoch=1)
        self.published: list[Checkpoint] = []
        self.sealer = self.crash()

    def crash(self) -> Sealer:
        self.sealer = Sealer(
            self.store,
            "AUDIT",
            origin=ORIGIN,
            key=KEY,
            position=lambda: self.position,
            metrics=make_metrics(CollectorRegistry()),
            publish=self.published.append,
            window=self.window,
        )
        return self.sealer

    async def store_events(self, events: list[Event], epoch: int = 1) -> None:
        await record(self.store, events, epoch=epoch)
        newest = "SELECT max(stream_seq) AS n FROM events WHERE epoch = {epoch:UInt64}"
        (stored,) = await self.store.query(newest, {"epoch": epoch})
        self.position = Position(epoch=epoch, stored=int(stored["n"]))

    async def expected(self) -> bytes:
        """The root as it must be, made in Python from the rows."""
        rows = await self.store.query(
            "SELECT stream, epoch, stream_seq, toUnixTimestamp64Micro(published_at) AS at, subject, hex(raw) AS raw, "
            "content_hash FROM events ORDER BY epoch, stream_seq"
        )
        entries = [
            Entry(
                row["stream"],
                row["epoch"],
                row["stream_seq"],
                row["at"],
                "events",
                row["subject"],
                raw_hash(bytes.fromhex(row["raw"])),
                row["content_hash"],
            )
            for row in rows
        ]
        return root_of(leaf_hash(entry.encoded) for entry in entries)


async def test_each_checkpoint_is_the_root_of_what_was_stored(store: Moody) -> None:
    log = Log(store)
    for count in (1, 2, 90, 300):
        await log.store_events(list(e.stories(count)))
        await log.sealer.seal()
        head = verify(log.published[-1].note, verifier_key(KEY, ORIGIN))
        assert (head.size, head.root) == (await store.count(), await log.expected())
    noted = await store.query("SELECT tree_size, epoch, stream_seq FROM checkpoints ORDER BY tree_size")
    assert [row["tree_size"] for row in noted] == [3, 9, 279, 1179]
    assert noted[-1]["stream_seq"] == 1179
    await log.sealer.seal()
    assert len(log.published) == 4


async def test_a_new_epoch_goes_on_behind_the_old(store: Moody) -> None:
    log = Log(store, window=7)
    await log.store_events(list(e.stories(5)))
    await log.sealer.seal()
    await log.store_events(list(e.stories(5)), epoch=9)
    await log.sealer.seal()
    assert (log.published[-1].size, log.published[-1].root) == (30, await log.expected())


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5])
async def test_a_crash_anywhere_leaves_a_log_that_goes_on(store: Moody, lost: int) -> None:
    """The answer to the n-th insert is lost, and the sealer with it."""
    log = Log(store, window=100)
    await log.store_events(list(e.stories(200)))
    calls = 0
    insert = store.insert

    async def fail(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == lost:
            raise StoreUnavailable("killed before")
        await insert(*arguments)  # type: ignore[arg-type]
        if calls == lost + 1:
            raise StoreUnavailable("killed behind")

    store.insert = fail  # type: ignore[method-assign,assignment]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await log.sealer.seal()
        log.crash()
    store.insert = insert  # type: ignore[method-assign]
    await log.store_events(list(e.stories(20)))
    await log.sealer.seal()
    assert (log.published[-1].size, log.published[-1].root) == (660, await log.expected())
    assert await store.count("leaves", "uniqExact(leaf)") == 660


@pytest.mark.parametrize(
    "tampering",
    [
        "ALTER TABLE leaves DELETE WHERE leaf = 3",
        "ALTER TABLE leaves DELETE WHERE leaf > 20",
        "ALTER TABLE leaves UPDATE hash = reverse(hash) WHERE leaf = 5",
        "ALTER TABLE checkpoints UPDATE note = replace(note, '30', '29') WHERE tree_size = 30",
    ],
)
async def test_nothing_is_signed_over_a_tree_that_was_changed(store: Moody, tampering: str) -> None:
    log = Log(store)
    await log.store_events(list(e.stories(10)))
    await log.sealer.seal()
    await store.command(f"{tampering} SETTINGS mutations_sync = 2")
    await log.store_events(list(e.stories(10)))
    log.crash()
    with pytest.raises((Broken, MissingHash)):
        await log.sealer.seal()
    assert len(log.published) == 1
