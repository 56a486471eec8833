"""Two hundred random tamperings with the stored tables: every one is found, and named.

The log is built once. Tamperings come in batches, each of a batch at another message, so that a finding names one of
them; those that touch everything come alone. Afterwards the partitions are put back as they were.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from countersign.proof.findings import Report
from countersign.proof.tables import TYPED
from schemas.base import new_id
from tests.recorder_proof.building import Log, a_log

pytestmark = pytest.mark.usefixtures("open_engine")

TABLES = ("events", "session_frames", "dead_letters", *(table.name for table in TYPED))
TREE = ("leaves", "tree_nodes", "checkpoints", "session_keys")
#: Not sealed: what a query may see of these comes from elsewhere, or is compared by hash alone.
BATCHES, IN_A_BATCH = 19, 10


@dataclass
class Row:
    """A row that is there to be tampered with."""

    table: str
    stream: str
    seq: int
    event_id: str


class Tampering:
    """Somebody with the rights of the database's owner, and a copy to put everything back from."""

    def __init__(self, log: Log, seed: int) -> None:
        self.log, self.store, self.random = log, log.store, random.Random(seed)
        self.columns: dict[str, dict[str, str]] = {}
        self.rows: list[Row] = []
        self.touched: set[str] = set()

    async def prepare(self) -> None:
        for table in (*TABLES, *TREE):
            await self.store.command(f"CREATE TABLE {table}_orig AS {table}")
            await self.store.command(f"ALTER TABLE {table}_orig ATTACH PARTITION ALL FROM {table}")
            described = await self.store.query(f"DESCRIBE TABLE {table}")
            self.columns[table] = {row["name"]: row["type"] for row in described if row["default_type"] != "ALIAS"}
        for table in TABLES:
            stream = "stream" if "stream" in self.columns[table] else "'AUDIT'"
            found = await self.store.query(f"SELECT {stream} AS s, stream_seq, event_id FROM {table}")
            self.rows += [Row(table, row["s"], row["stream_seq"], row["event_id"]) for row in found]

    async def undo(self) -> None:
        for table in self.touched:
            await self.store.command(f"TRUNCATE TABLE {table}")
            await self.store.command(f"ALTER TABLE {table} ATTACH PARTITION ALL FROM {table}_orig")
        if "session_keys" in self.touched:
            await self.store.command("SYSTEM RELOAD DICTIONARY keyring")
        self.touched.clear()

    async def delete(self, table: str, where: str) -> None:
        self.touched.add(table)
        await self.store.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")

    async def insert(self, table: str, where: str, **replaced: str) -> None:
        """A copy of original rows, with other values."""
        self.touched.add(table)
        changes = ", ".join(f"{value} AS {name}" for name, value in replaced.items())
        what = f"* REPLACE ({changes})" if changes else "*"
        await self.store.command(
            f"INSERT INTO {table} SELECT {what} FROM {table}_orig WHERE {where} SETTINGS insert_deduplicate = 0"
        )

    async def edit(self, row: Row) -> str:
        name = self.random.choice([name for name in self.columns[row.table] if name not in ("event_id",)])
        where = f"event_id = '{row.event_id}'"
        await self.delete(row.table, where)
        await self.insert(row.table, where, **{name: other(name, self.columns[row.table][name])})
        return f"edit {name}"

    async def rename(self, row: Row) -> str:
        await self.delete(row.table, f"event_id = '{row.event_id}'")
        await self.insert(row.table, f"event_id = '{row.event_id}'", event_id=f"'{new_id()}'")
        return "give another event_id"

    async def remove(self, row: Row) -> str:
        await self.delete(row.table, f"event_id = '{row.event_id}'")
        return "remove"

    async def repeat(self, row: Row) -> str:
        await self.insert(row.table, f"event_id = '{row.event_id}'")
        return "repeat"

    async def forge(self, row: Row) -> str:
        """One more, like it, under its own id and at the same place."""
        await self.insert(row.table, f"event_id = '{row.event_id}'", event_id=f"'{new_id()}'")
        return "forge"

    async def swap(self, row: Row) -> str:
        """The row takes another's place in time."""
        other_seq = self.random.choice(
            [one.seq for one in self.rows if one.table == row.table and one.seq != row.seq] or [9999]
        )
        await self.delete(row.table, f"event_id = '{row.event_id}'")
        await self.insert(row.table, f"event_id = '{row.event_id}'", stream_seq=f"toUInt64({other_seq})")
        return f"move to {other_seq}"


def other(name: str, kind: str) -> str:
    """An expression for another value of a column."""
    if kind.startswith("Array"):
        return f"arrayPushBack({name}, 'x')"
    if kind.startswith("Map") and "UInt64" in kind:
        return f"mapConcat({name}, map('x', 1))"
    if kind.startswith("Map"):
        return f"mapConcat({name}, map('x', 'y'))"
    if kind == "Bool":
        return f"NOT {name}"
    if kind.startswith("DateTime64"):
        return f"{name} + toIntervalMillisecond(1)"
    if "String" in kind:
        return f"concat({name}, 'x')"
    if kind.startswith("Nullable"):
        return f"ifNull({name}, 0) + 1"
    return f"CAST({name} + 1 AS {kind})"


@pytest.fixture
async def tampering(engine_dsn: str) -> AsyncIterator[Tampering]:
    async with a_log(engine_dsn, stories=30) as log:
        tampering = Tampering(log, seed=20261121)
        await tampering.prepare()
        yield tampering


def names(report: Report, row: Row) -> bool:
    """Whether a finding is about this message."""
    return any(one.event_id == row.event_id or one.stream_seq == row.seq for one in report.findings)


async def test_every_tampering_is_found_and_named(tampering: Tampering) -> None:
    log = tampering.log
    assert log.verify().ok
    done = 0
    for _ in range(BATCHES):
        at: dict[tuple[str, int], tuple[Row, str]] = {}
        while len(at) < IN_A_BATCH:
            row = tampering.random.choice(tampering.rows)
            if (row.stream, row.seq) in at or any(row.event_id == taken.event_id for taken, _ in at.values()):
                continue
            ways: list[Callable[[Row], Awaitable[str]]] = [
                tampering.edit,
                tampering.edit,
                tampering.rename,
                tampering.remove,
                tampering.repeat,
                tampering.forge,
                tampering.swap,
            ]
            at[row.stream, row.seq] = (row, await tampering.random.choice(ways)(row))
        report = log.verify()
        missed = [(row, how) for row, how in at.values() if not names(report, row)]
        assert not missed, [str(finding) for finding in report.findings]
        done += len(at)
        await tampering.undo()
    assert done == BATCHES * IN_A_BATCH
    assert log.verify().ok


#: Each alone: what is done, and what must be said of it.
ALONE = {
    "a leaf is changed": (["leaves UPDATE hash = reverse(hash) WHERE stream = 'AUDIT' AND leaf = 17"], "tree"),
    "a leaf is removed": (["leaves DELETE WHERE stream = 'AUDIT' AND leaf = 17"], "tree"),
    "a leaf takes another's place": (
        ["leaves UPDATE kind = 'dead_letters' WHERE stream = 'AUDIT' AND leaf = 17"],
        "missing",
    ),
    "a kept node is changed": (["tree_nodes UPDATE hash = reverse(hash) WHERE 1"], "tree"),
    "a key is changed": (["session_keys UPDATE key = reverse(key) WHERE stream = 'RECORDING'"], "unreadable"),
    "keys are removed and nobody asked": (["session_keys DELETE WHERE stream = 'RECORDING'"], "unreadable"),
    "a checkpoint's root is changed": (["checkpoints UPDATE root = reverse(root) WHERE 1"], "checkpoint"),
    "a checkpoint is signed by nobody": (
        ["checkpoints UPDATE note = replaceOne(note, '=', 'A') WHERE 1"],
        "checkpoint",
    ),
    "the last checkpoint is an old one": (
        ["checkpoints DELETE WHERE stream = 'AUDIT' AND tree_size > 140"],
        "checkpoint",
    ),
    "the tail of everything is cut off, and an old checkpoint is the last": (
        [
            "checkpoints DELETE WHERE stream = 'AUDIT' AND tree_size > 140",
            "leaves DELETE WHERE stream = 'AUDIT' AND leaf >= 98",
            "tree_nodes DELETE WHERE stream = 'AUDIT'",
            *(f"{table} DELETE WHERE stream_seq > 98" for table in TABLES if table != "session_frames"),
        ],
        "truncated",
    ),
}


@pytest.mark.parametrize("name", ALONE)
async def test_tampering_with_the_tree_is_found(tampering: Tampering, name: str) -> None:
    statements, what = ALONE[name]
    for statement in statements:
        await tampering.store.command(f"ALTER TABLE {statement} SETTINGS mutations_sync = 2")
        tampering.touched.add(statement.split()[0])
    await tampering.store.command("SYSTEM RELOAD DICTIONARY keyring")
    report = tampering.log.verify()
    assert what in {finding.what for finding in report.findings}, list(report.lines())
    await tampering.undo()
    assert tampering.log.verify().ok
