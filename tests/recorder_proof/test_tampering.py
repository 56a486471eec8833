"""Two hundred tamperings with the stored tables, most of them random: every one is found, and named.

The log is built once. Tamperings come in batches, each of a batch at another message, so that a finding names one of
them; those that touch everything come alone. Afterwards the partitions are put back as they were.
"""

import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from countersign.proof import findings
from countersign.proof.definitions import definitions
from countersign.proof.findings import Report
from countersign.proof.tables import TYPED
from schemas.base import new_id
from services.recorder.keyring import Keyring
from services.recorder.rows import build
from tests.recorder import events as e
from tests.recorder_proof.building import Log, a_log

pytestmark = pytest.mark.usefixtures("open_engine")

TABLES = ("events", "session_frames", "dead_letters", *(table.name for table in TYPED))
TREE = ("leaves", "tree_nodes", "checkpoints", "session_keys")
BATCHES, IN_A_BATCH = 5, 37
#: When the builder's messages were stored.
STORED = 1_790_000_000_000_000


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

    async def apply(self, plans: list["Plan"]) -> None:
        """In one deletion and one insertion for each table."""
        for table in {plan.row.table for plan in plans}:
            self.touched.add(table)
            ours = [plan for plan in plans if plan.row.table == table]
            gone = ", ".join(f"'{plan.row.event_id}'" for plan in ours if plan.delete)
            if gone:
                await self.alter(f"{table} DELETE WHERE event_id IN ({gone})")
            if copies := [plan.copy() for plan in ours if plan.insert is not None]:
                every = " UNION ALL ".join(copies)
                await self.store.command(f"INSERT INTO {table} {every} SETTINGS insert_deduplicate = 0")

    async def alter(self, statement: str) -> None:
        """An ALTER TABLE of a table, or an INSERT INTO one."""
        insert = statement.startswith("INSERT INTO")
        self.touched.add(statement.split()[2 if insert else 0])
        alone = f"{statement} SETTINGS insert_deduplicate = 0"
        await self.store.command(alone if insert else f"ALTER TABLE {statement} SETTINGS mutations_sync = 2")

    async def forge(self, epoch: int, seq: int, at: int) -> str:
        """An operation that nobody attempted, in every table as if the recorder had stored it; its event's id."""
        attempt = e.attempt("ingress-9", identity=e.AGENT.model_copy(update={"subject": "forged-agent"}))
        made = [one._replace(published_at=at) for one in e.deliveries([attempt, e.outcome(attempt)], seq)]
        token = f"forged-{epoch}-{seq}-{at}"
        rows = await Keyring(self.store).sealed(build(made, "AUDIT", epoch), "AUDIT", token)
        for table, some in rows.items():
            await self.store.insert(table.name, some, table.columns, f"{token}:{table.name}")
        self.touched |= {"session_keys", *(table.name for table in rows)}
        return attempt.event_id

    def plan(self, row: Row, taken: set[int]) -> "Plan":
        """One way or the other; moved rows go where no other tampering is looked for."""
        another = {"event_id": f"'{new_id()}'"}
        name = self.random.choice([name for name in self.columns[row.table] if name != "event_id"])
        free = [one.seq for one in self.rows if one.table == row.table and one.seq not in taken]
        return self.random.choice(
            [
                Plan(row, f"edit {name}", True, {name: other(name, self.columns[row.table][name])}),
                Plan(row, f"edit {name}", True, {name: other(name, self.columns[row.table][name])}),
                Plan(row, "give another id", True, another),
                Plan(row, "remove", True, None),
                Plan(row, "repeat", False, {}),
                Plan(row, "forge one like it", False, another),
                Plan(row, "move", True, {"stream_seq": f"toUInt64({self.random.choice(free or [9999])})"}),
            ]
        )


@dataclass
class Plan:
    """What is done to a row."""

    row: Row
    how: str
    delete: bool
    #: Columns of the row that is put in, with their new values; None: none is.
    insert: dict[str, str] | None

    def copy(self) -> str:
        changes = ", ".join(f"{value} AS {name}" for name, value in (self.insert or {}).items())
        what = f"* REPLACE ({changes})" if changes else "*"
        # The inner query, because a replaced column's name would mean its new value in a WHERE beside it.
        return f"SELECT {what} FROM (SELECT * FROM {self.row.table}_orig WHERE event_id = '{self.row.event_id}')"


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
    "a checkpoint's columns tell another end": (
        ["checkpoints UPDATE epoch = 9, stream_seq = 9 WHERE stream = 'AUDIT'"],
        "checkpoint",
    ),
    "a row stands very far behind": (
        ["INSERT INTO verdicts SELECT * REPLACE (toUInt64(1e12) AS stream_seq) FROM verdicts LIMIT 1"],
        "added",
    ),
    "a leaf stands very far behind": (
        ["INSERT INTO leaves SELECT * REPLACE (toUInt64(1e12) AS leaf) FROM leaves LIMIT 1"],
        "tree",
    ),
    "a kept node is there twice, differently": (
        ["INSERT INTO tree_nodes SELECT * REPLACE (reverse(hash) AS hash) FROM tree_nodes LIMIT 1"],
        "tree",
    ),
}
#: Last, because none is undone: what is replaced, and how. Rows stay as they are.
WHAT_AUDITORS_READ = {
    "operations": "CREATE OR REPLACE VIEW operations AS "
    + definitions()["operations"].replace("WHERE self_contained", "WHERE self_contained AND outcome != 'forwarded'"),
    "log_entries": "CREATE OR REPLACE VIEW log_entries AS "
    + definitions()["log_entries"].replace("FROM events", "FROM events_orig"),
    "attempts": "ALTER TABLE attempts MODIFY COLUMN opened Nullable(String) ALIAS "
    """'{"operation":{"statement":"nothing to see"}}'""",
    "trace_runs": "INSERT INTO trace_runs VALUES ('0af7651916cd43dd8448eb211c80319c', 'another-run')",
}
#: Where an operation is forged: epoch, sequence and moment, in microseconds since 1970.
YEAR = 31_536_000_000_000
FORGED = {
    "under an epoch that no stream began": (2, 1, STORED),
    "behind the end, and stored long before it": (1, 5_000_000, STORED - YEAR),
    "behind the end, in the future": (1, 6_000_000, time.time_ns() // 1000 + YEAR),
    "under an epoch to come": (time.time_ns() // 1000 + YEAR, 1, STORED),
    "under an epoch before the end": (0, 17, STORED),
}


async def test_every_tampering_is_found_and_named(tampering: Tampering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "LISTED", 10_000)
    log = tampering.log
    assert log.verify().ok
    done = 0
    for _ in range(BATCHES):
        rows: dict[tuple[str, int], Row] = {}
        while len(rows) < IN_A_BATCH:
            row = tampering.random.choice(tampering.rows)
            if row.event_id not in {taken.event_id for taken in rows.values()}:
                rows.setdefault((row.stream, row.seq), row)
        plans = [tampering.plan(row, {seq for _, seq in rows}) for row in rows.values()]
        await tampering.apply(plans)
        report = log.verify()
        missed = [(plan.row, plan.how) for plan in plans if not names(report, plan.row)]
        assert not missed, [str(finding) for finding in report.findings]
        done += len(plans)
        await tampering.undo()
    for name, (statements, what) in ALONE.items():
        for statement in statements:
            await tampering.alter(statement)
        await tampering.store.command("SYSTEM RELOAD DICTIONARY keyring")
        report = log.verify()
        assert what in {finding.what for finding in report.findings}, (name, list(report.lines()))
        await tampering.undo()
        done += 1
    forged = {await tampering.forge(*place): name for name, place in FORGED.items()}
    told = {one.event_id for one in log.verify().findings if one.table == "events" and one.what == "added"}
    assert not [name for id_, name in forged.items() if id_ not in told]
    await tampering.undo()
    done += len(forged)
    assert log.verify().ok
    for statement in WHAT_AUDITORS_READ.values():
        await tampering.store.command(statement)
    assert {finding.table for finding in log.verify().findings} >= set(WHAT_AUDITORS_READ)
    assert done + len(WHAT_AUDITORS_READ) >= 200
