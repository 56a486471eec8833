"""Migrations on a real chDB, each test in a database of its own, and the statement splitter by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.clickhouse import Store
from services.recorder.migrate import MigrationError, load_migrations, migrate
from services.recorder.sql_script import split_statements
from services.recorder.store_address import EmbeddedAddress

pytestmark = pytest.mark.usefixtures("open_engine")

FIRST = "-- events; first\nCREATE TABLE IF NOT EXISTS a (id UInt64) ENGINE = MergeTree ORDER BY id;\n"
SECOND = """
CREATE TABLE IF NOT EXISTS b (s String DEFAULT ';') ENGINE = MergeTree ORDER BY s; /* ; */
CREATE OR REPLACE VIEW v AS SELECT id, 'it''s; one' AS text FROM a;
"""


def fresh_store(engine_dir: Path, database: str) -> Store:
    store = Store(f"chdb://{engine_dir}")
    store.address = EmbeddedAddress(engine_dir, database)
    return store


@pytest.fixture
def database() -> str:
    return f"m_{uuid.uuid4().hex}"


@pytest.fixture
async def empty(engine_dir: Path, database: str) -> AsyncIterator[Store]:
    """A store whose default database is new and empty."""
    store = fresh_store(engine_dir, database)
    yield store
    await store.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0001_events.sql").write_text(FIRST)
    (tmp_path / "0002_views.sql").write_text(SECOND)
    return tmp_path


async def ledger(store: Store) -> list[int]:
    return [row["version"] for row in await store.query("SELECT version FROM schema_migrations FINAL ORDER BY version")]


async def test_applies_what_is_missing_once(empty: Store, files: Path) -> None:
    assert await migrate(empty, files) == [1, 2]
    assert await migrate(empty, files) == []
    (files / "0003_more.sql").write_text("ALTER TABLE a ADD COLUMN IF NOT EXISTS more String")
    assert await migrate(empty, files) == [3]
    assert await ledger(empty) == [1, 2, 3]
    assert await empty.query("SELECT * FROM v") == []


async def test_the_ledger_says_what_and_when(empty: Store, files: Path) -> None:
    await migrate(empty, files)
    row = (await empty.query("SELECT *, now64(3) >= applied_at AS past FROM schema_migrations WHERE version = 2"))[0]
    assert (row["name"], len(row["checksum"]), row["past"]) == ("views", 64, 1)


async def test_a_changed_file_is_refused(empty: Store, files: Path) -> None:
    await migrate(empty, files)
    (files / "0001_events.sql").write_text(FIRST + "\n")
    with pytest.raises(MigrationError, match="0001_events was changed"):
        await migrate(empty, files)


async def test_a_newer_database_is_refused(empty: Store, files: Path) -> None:
    await migrate(empty, files)
    (files / "0002_views.sql").unlink()
    with pytest.raises(MigrationError, match="has migration 0002, this code ends at 0001"):
        await migrate(empty, files)


async def test_a_failing_statement_is_named_and_not_noted(empty: Store, files: Path) -> None:
    good = (files / "0002_views.sql").read_text()
    (files / "0002_views.sql").write_text(good + "CREATE TABEL oops;")
    with pytest.raises(MigrationError, match=r"0002_views, statement 3: .*Syntax error"):
        await migrate(empty, files)
    assert await ledger(empty) == [1]
    (files / "0002_views.sql").write_text(good)
    assert await migrate(empty, files) == [2]


async def test_several_copies_at_once(engine_dir: Path, database: str, files: Path) -> None:
    stores = [fresh_store(engine_dir, database) for _ in range(4)]
    await asyncio.gather(*(migrate(store, files) for store in stores))
    assert await ledger(stores[0]) == [1, 2]
    for store in stores:
        assert await migrate(store, files) == []
        await store.close()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["1_short.sql"], "is named NNNN"),
        (["0001_Name.sql"], "is named NNNN"),
        (["0002_first.sql"], "expected migration 0001"),
        (["0001_a.sql", "0001_b.sql"], "expected migration 0002"),
        (["0001_a.sql", "0003_b.sql"], "expected migration 0002"),
    ],
)
def test_misnumbered_files_are_refused(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=complaint):
        load_migrations(tmp_path)


@pytest.mark.parametrize("text", ["", "-- nothing\n;;", "SELECT 'open", "SELECT /* open"])
def test_files_without_sense_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "0001_a.sql").write_text(text)
    with pytest.raises(MigrationError, match=r"0001_a\.sql: (line 1|holds no statement)"):
        load_migrations(tmp_path)


class TestSplit:
    @pytest.mark.parametrize(
        ("script", "statements"),
        [
            ("a; b;", ["a", "b"]),
            ("a;;\n;b", ["a", "b"]),
            ("a -- ; not\n; b", ["a", "b"]),
            ("a /* ; */ b; # c ;\nd", ["a   b", "d"]),
            (r"'\'; x'; 'y''; z'", [r"'\'; x'", "'y''; z'"]),
            ('`;`; ";"', ["`;`", '";"']),
            ("$x$ ; ' $x$; b", ["$x$ ; ' $x$", "b"]),
            ("1 - 2 / 3 # 4", ["1 - 2 / 3"]),
            ("'-- no comment'; '/* neither'", ["'-- no comment'", "'/* neither'"]),
        ],
    )
    def test_statements(self, script: str, statements: list[str]) -> None:
        assert split_statements(script) == statements

    def test_unclosed_names_its_line(self) -> None:
        with pytest.raises(ValueError, match=r"line 3: ' is never closed"):
            split_statements("a;\nb;\n'c;")

    @given(st.lists(st.text(alphabet="ab'\\;`\n-/*$# ", max_size=12), max_size=5))
    def test_quoted_text_never_splits(self, texts: list[str]) -> None:
        quoted = ["'" + text.replace("\\", "\\\\").replace("'", "''") + "'" for text in texts]
        assert split_statements(";".join(quoted)) == quoted
