"""`make bench-audit`: what the record costs, and how fast it answers.

Loads a month of events (ten million unless `--events` says otherwise) the way the recorder does: rows from the
published bytes, content sealed by a key per session, one insert per table and batch, fsynced. Then seals the log, asks
every query of docs/audit.md through the reader's guard and limits (one thread), exports a day and verifies the whole.
Publishing and JetStream are not in it: `make bench` measures the pipeline.
"""

import argparse
import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from bench.audit_events import DAYS, END, Month
from services.recorder.batch import Delivery
from services.recorder.clickhouse import Store
from services.recorder.keyring import Keyring
from services.recorder.metrics import make_metrics
from services.recorder.migrate import migrate
from services.recorder.position import Position
from services.recorder.proof.note import origin, verifier_key
from services.recorder.reader_engine import QueryFailed, ReaderEngine, ReaderQuery
from services.recorder.reader_settings import ReaderLimits
from services.recorder.rows import build
from services.recorder.sealer import Sealer
from services.recorder.store_address import EmbeddedAddress
from services.recorder.tables import WRITING_ORDER
from services.runtime.data_dir import DataDir
from services.runtime.keys import log_key

PAGE: Final = Path(__file__).parents[1] / "docs" / "audit.md"
#: Rows of a batch: `audit.batch_rows` by default.
BATCH: Final = 10_000
STREAMS: Final = ("AUDIT", "RECORDING")
#: Seconds a statement may take here; loading shares the machine with merges.
PATIENCE: Final = 600.0


#: A day of the month, as docs/audit.md asks for it.
_DAY: Final = ("--since", f"{END - timedelta(days=1):%Y-%m-%d}", "--until", f"{END:%Y-%m-%d}")
COMMANDS: Final = {
    "a day to Parquet": ("audit", "export", *_DAY, "--format", "parquet", "-o", "day.parquet"),
    "a day to OCSF": ("audit", "export", *_DAY, "--format", "ocsf", "-o", "day.ocsf"),
    "`countersign sessions list` of a day": ("sessions", "list", *_DAY),
    "`countersign audit verify`": ("audit", "verify"),
}


class Loading:
    """The recorder's work on batches, by the clock."""

    def __init__(self, store: Store) -> None:
        self.store, self.keyring = store, Keyring(store)
        self.seconds: dict[str, float] = defaultdict(float)
        self.stored = dict.fromkeys(STREAMS, 0)
        self.bytes = 0

    async def batch(self, stream: str, deliveries: list[Delivery]) -> None:
        """Rows, keys and seals, inserts."""
        begun = time.perf_counter()
        token = f"{stream}:{deliveries[0].seq}"
        rows = await self.keyring.sealed(build(deliveries, stream, 1), stream, token)
        built = time.perf_counter()
        for table in WRITING_ORDER:
            if made := rows.get(table):
                await self.store.insert(table.name, made, table.columns, f"{token}:{table.name}")
        self.seconds["rows and seals"] += built - begun
        self.seconds["inserts"] += time.perf_counter() - built
        self.stored[stream] = deliveries[-1].seq
        self.bytes += sum(len(delivery.data) for delivery in deliveries)


async def load(store: Store, month: Month) -> Loading:
    """Everything, in batches of each stream."""
    loading, waiting = Loading(store), {stream: list[Delivery]() for stream in STREAMS}
    told = time.perf_counter()
    for stream, delivery in month:
        waiting[stream].append(delivery)
        if len(waiting[stream]) == BATCH:
            await loading.batch(stream, waiting[stream])
            waiting[stream] = []
            if time.perf_counter() - told > 30:
                told = time.perf_counter()
                done = sum(loading.stored.values())
                rate = done / sum(loading.seconds.values())
                print(f"  {done:,} events, {rate:,.0f}/s", file=sys.stderr, flush=True)
    for stream, rest in waiting.items():
        if rest:
            await loading.batch(stream, rest)
    return loading


async def seal(store: Store, data: DataDir, loading: Loading) -> float:
    """The Merkle tree over both streams, and its signed heads; seconds."""
    key, metrics = log_key(None, data), make_metrics(CollectorRegistry())
    keys = [f"{verifier_key(key, origin('countersign', stream))}\n" for stream in STREAMS]
    (data.keys / "log.vkey").write_text("".join(keys))
    begun = time.perf_counter()
    for stream in STREAMS:
        position = Position(epoch=1, stored=loading.stored[stream], claimed=loading.stored[stream])
        name = origin("countersign", stream)
        await Sealer(store, stream, origin=name, key=key, position=partial(copy, position), metrics=metrics).seal()
    return time.perf_counter() - begun


async def on_disk(store: Store) -> dict[str, int]:
    """Bytes by table."""
    rows = await store.query(
        "SELECT table, sum(bytes_on_disk) AS size FROM system.parts WHERE active AND database = currentDatabase() "
        "GROUP BY table ORDER BY size DESC"
    )
    return {row["table"]: int(row["size"]) for row in rows}


def documented() -> list[tuple[str, str]]:
    """Heading and text of every query on the page."""
    found, heading = [], ""
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE):
        heading = part.split("\n", 1)[0]
        found += [(heading, query.strip()) for query in re.findall(r"```sql\n(.*?)```", part, re.DOTALL)]
    return found


def ask(store: Path, runs: int) -> list[tuple[str, str]]:
    """Each query and its p95, as readers meet it: the guard, one thread, the limits."""
    engine = ReaderEngine(EmbeddedAddress(store), ReaderLimits())
    engine.open()
    told = [(heading, asked(engine, query, runs)) for heading, query in documented()]
    engine.close()
    return told


def asked(engine: ReaderEngine, query: str, runs: int) -> str:
    """What one query takes, or why the engine will not answer it."""
    try:
        return timed(lambda: engine.run(ReaderQuery(query)), runs)
    except QueryFailed as error:
        return f"refused: {' '.join(str(error).split())[:80]}"


def timed(work: Callable[[], object], runs: int) -> str:
    """Median and p95 over the runs; the first warms up."""
    work()
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    p95 = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    return f"{statistics.median(seconds) * 1000:,.0f} ms, p95 {p95 * 1000:,.0f} ms"


def command(*arguments: str) -> str:
    """How long a command of ours takes, and how it ended; run where its file is thrown away."""
    words = [sys.executable, "-m", "countersign", *arguments]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    said = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""])[-1]
    return f"{seconds:,.1f} s" + (f" (exit {done.returncode}: {said[:100]})" if done.returncode else "")


async def measure(root: Path, events: int, runs: int) -> None:
    """Everything, printed as it is found."""
    data, store_path = DataDir(root), root / "clickhouse"
    store = Store(f"chdb://{store_path}", timeout=PATIENCE)
    await migrate(store)
    month = Month(events)
    loading = await load(store, month)
    busy, size = sum(loading.seconds.values()), loading.bytes / events
    print(f"{events:,} events of {month.operations:,} operations over {DAYS} days, {size:,.0f} bytes each\n")
    print("| what | figure |\n|---|---|")
    shares = ", ".join(f"{name} {seconds / busy:.0%}" for name, seconds in loading.seconds.items())
    line("ingest", f"{events / busy:,.0f} events/s ({shares})")
    sealing = await seal(store, data, loading)
    line("sealing the log", f"{events / sealing:,.0f} events/s")
    tables = await on_disk(store)
    whole = sum(tables.values())
    largest = ", ".join(f"{name} {size / whole:.0%}" for name, size in list(tables.items())[:5])
    line("on disk, an operation", f"{whole / month.operations:,.0f} bytes ({largest})")
    line("on disk, of what was published", f"{whole / loading.bytes:.0%}")
    await store.close()
    for heading, figures in ask(store_path, runs):
        line(heading.rstrip("?"), figures)
    for name, arguments in COMMANDS.items():
        line(name, command(*arguments, "--data", str(root)))


def line(name: str, figure: str) -> None:
    """One row of the table."""
    print(f"| {name} | {figure} |", flush=True)


def main() -> None:
    """Read the arguments, measure in a directory that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=20, help="of each query")
    parser.add_argument("--keep", type=Path, help="a directory to measure in, and to leave")
    arguments = parser.parse_args()
    root = (arguments.keep or Path(tempfile.mkdtemp(prefix="bench-audit-"))).absolute()
    try:
        asyncio.run(measure(root, arguments.events, arguments.runs))
    finally:
        if arguments.keep is None:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
