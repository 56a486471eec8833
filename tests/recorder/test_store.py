"""The store on a real chDB: what it keeps, what it refuses, and what survives a kill -9."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.recorder.clickhouse import Store
from services.recorder.store_address import EmbeddedAddress, ServerAddress, parse_dsn
from services.recorder.store_errors import StoreRejected, StoreUnavailable

from .conftest import ROOT

pytestmark = pytest.mark.usefixtures("open_engine")

DEDUPLICATED = "SETTINGS non_replicated_deduplication_window = 1000"
ENGINES = ["MergeTree", "ReplacingMergeTree"]


class TestAddress:
    def test_server(self) -> None:
        address = parse_dsn("clickhouse://rec:p%40ss@ch.internal:9123/audit")
        assert address == ServerAddress("ch.internal", 9123, False, "rec", "p@ss", "audit")

    def test_tls_and_defaults(self) -> None:
        assert parse_dsn("clickhouses://ch") == ServerAddress("ch", 8443, True, "default", "", "countersign")

    @pytest.mark.parametrize(("dsn", "path"), [("chdb://data/audit", "data/audit"), ("chdb:///var/x", "/var/x")])
    def test_embedded(self, dsn: str, path: str) -> None:
        assert parse_dsn(dsn) == EmbeddedAddress(Path(path))

    @pytest.mark.parametrize(
        "dsn",
        [
            "",
            "postgres://u:s3cret@h/d",
            "clickhouse://",
            "clickhouse://u:s3cret@h:port/d",
            "clickhouse://u:s3cret@h/d?x=1",
            "chdb://",
            "chdb://:memory:",
            "chdb://d?x=1",
        ],
    )
    def test_nonsense_is_refused_without_its_password(self, dsn: str) -> None:
        with pytest.raises(ValueError, match=r"chdb://|clickhouse") as refusal:
            Store(dsn)
        assert "s3cret" not in str(refusal.value)

    def test_no_password_in_text(self) -> None:
        address = parse_dsn("clickhouse://rec:s3cret@h/d")
        assert "s3cret" not in f"{address} {address!r}"


class TestEmbedded:
    async def test_database_is_made_and_is_the_default(self, store: Store) -> None:
        assert await store.query("SELECT currentDatabase() AS db") == [{"db": "countersign"}]

    async def test_asynchronous_inserts_are_off(self, store: Store) -> None:
        assert await store.query("SELECT getSetting('async_insert') AS on") == [{"on": False}]

    async def test_parameters_are_bound_not_pasted(self, store: Store) -> None:
        hostile = "'; DROP DATABASE countersign; --"
        assert await store.query("SELECT {x:String} AS x", {"x": hostile}) == [{"x": hostile}]

    async def test_raw_query_answers_in_the_format_asked_for(self, store: Store) -> None:
        sql = "SELECT number FROM numbers(2)"
        assert await store.raw_query(sql, "JSONEachRow") == b'{"number":0}\n{"number":1}\n'
        quoted = await store.raw_query(sql, "JSONEachRow", {"output_format_json_quote_64bit_integers": 1})
        assert quoted == b'{"number":"0"}\n{"number":"1"}\n'

    @pytest.mark.parametrize("engine", ENGINES)
    async def test_a_token_counts_once(self, store: Store, table_name: str, engine: str) -> None:
        await store.command(
            f"CREATE TABLE {table_name} (id UInt64, s String) ENGINE = {engine} ORDER BY id {DEDUPLICATED}"
        )
        for token in ("seq-1-2", "seq-1-2", "seq-3-3"):
            await store.insert(table_name, [(1, "a"), (2, "b")], ["id", "s"], token)
        assert await store.query(f"SELECT count() AS n FROM {table_name}") == [{"n": 4}]

    async def test_no_token_no_insert(self, store: Store, table_name: str) -> None:
        with pytest.raises(StoreRejected, match="deduplication token"):
            await store.insert(table_name, [(1,)], ["id"], "")


class TestErrors:
    async def test_wrong_statement_is_permanent_with_clickhouse_s_code(self, store: Store) -> None:
        with pytest.raises(StoreRejected) as refusal:
            await store.query("SELECT nonsense")
        assert refusal.value.code == 47

    async def test_missing_table_may_yet_come(self, store: Store) -> None:
        with pytest.raises(StoreUnavailable) as refusal:
            await store.query("SELECT * FROM not_yet_migrated")
        assert refusal.value.code == 60
        with pytest.raises(StoreUnavailable):
            await store.insert("not_yet_migrated", [(1,)], ["id"], "t")

    async def test_missing_column_may_yet_come(self, store: Store, table_name: str) -> None:
        await store.command(f"CREATE TABLE {table_name} (id UInt64) ENGINE = MergeTree ORDER BY id")
        with pytest.raises(StoreUnavailable, match="no column later"):
            await store.insert(table_name, [(1, 2)], ["id", "later"], "t")

    @pytest.mark.parametrize("value", ["text", None, -1, 2**64, object()])
    async def test_wrong_value_is_permanent(self, store: Store, table_name: str, value: object) -> None:
        await store.command(f"CREATE TABLE {table_name} (id UInt64) ENGINE = MergeTree ORDER BY id")
        with pytest.raises(StoreRejected):
            await store.insert(table_name, [(value,)], ["id"], "t")
        await store.insert(table_name, [(1,)], ["id"], "t")
        assert await store.query(f"SELECT id FROM {table_name}") == [{"id": 1}]

    async def test_query_over_its_time_is_unavailable(self, engine_dsn: str) -> None:
        store = Store(engine_dsn, timeout=1)
        with pytest.raises(StoreUnavailable) as refusal:
            await store.query("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7")
        assert refusal.value.code == 159
        await store.close()

    async def test_no_server_is_unavailable_and_tells_no_password(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            store = Store(f"clickhouse://rec:s3cret@127.0.0.1:{unused.getsockname()[1]}/audit", timeout=2)
            with pytest.raises(StoreUnavailable) as refusal:
                await store.query("SELECT 1")
        assert "s3cret" not in str(refusal.value)
        await store.close()

    async def test_closed_is_closed(self, engine_dsn: str) -> None:
        store = Store(engine_dsn)
        await store.close()
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.query("SELECT 1")


# Inserts ten rows per batch for ever, and says on stdout when one is acknowledged.
WRITER = f"""
import asyncio, itertools, sys
from services.recorder.clickhouse import Store

async def main():
    store = Store(f"chdb://{{sys.argv[1]}}")
    table = "CREATE TABLE IF NOT EXISTS log (id UInt64) ENGINE = {{}} ORDER BY id {DEDUPLICATED}"
    await store.command(table.format(sys.argv[2]))
    for batch in itertools.count(int(sys.argv[3])):
        await store.insert("log", [(batch * 10 + i,) for i in range(10)], ["id"], f"batch-{{batch}}")
        print(batch, flush=True)

asyncio.run(main())
"""
COUNTER = """
import asyncio, json, sys
from services.recorder.clickhouse import Store

async def main():
    store = Store(f"chdb://{sys.argv[1]}")
    print(json.dumps((await store.query("SELECT count() AS n, uniqExact(id) AS ids, max(id) AS last FROM log"))[0]))
    await store.close()

asyncio.run(main())
"""


def _killed_after(batches: int, directory: Path, engine: str, start: int) -> int:
    """Run the writer, kill -9 it in the middle of its inserts, answer the last batch it had acknowledged."""
    command = [sys.executable, "-c", WRITER, str(directory), engine, str(start)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = -1
        for _ in range(batches):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        return max([acknowledged, *map(int, writer.stdout.read().split())])


class TestCrash:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_kill_9_loses_nothing_acknowledged_and_tokens_outlive_it(self, tmp_path, python, engine: str) -> None:
        last = -1
        for batches in (3, 7):
            # As JetStream would: what was acknowledged last is delivered once more after the crash.
            last = _killed_after(batches, tmp_path / "db", engine, start=max(last - 1, 0))
        counted = eval(python(COUNTER, str(tmp_path / "db")).stdout)
        assert counted["n"] == counted["ids"], "a redelivered batch was stored twice"
        assert counted["last"] >= last * 10 + 9
        assert counted["ids"] == counted["last"] + 1, "an acknowledged batch is missing"

    def test_a_directory_belongs_to_one_process(self, engine_dir: Path, store: Store, python) -> None:
        second = python(COUNTER, str(engine_dir), check=False)
        assert second.returncode != 0
        assert "StoreUnavailable" in second.stderr
