"""The afternoon of `world.py` on record and served, once for all tests here; and the command, which asks it."""

import asyncio
import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countersign.record import Endpoint, Record
from countersign.record import opened as open_record
from services.recorder.clickhouse import Store
from services.recorder.erasing import erase
from services.recorder.keyring import Keyring
from services.recorder.migrate import migrate
from tests.cli.conftest import REPOSITORY, Cli, Ended
from tests.record_use.serving import seal
from tests.record_use.world import World, afternoon
from tests.recorder.conftest import engines, server_dsn
from tests.recorder.recording import record as record_events

#: Before the first event of the world, for commands that want a beginning.
SINCE = "2026-11-20"
#: Pictures that tests keep; not in git.
ARTEFACTS = REPOSITORY / "artefacts"


@pytest.fixture(scope="session", params=engines())
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a served record, with user and password; also on the ClickHouse server of CLICKHOUSE_URL."""
    if request.param == "server":
        with on_server() as address:
            yield address
        return
    directory = tmp_path_factory.mktemp("record") / "clickhouse"
    command = [sys.executable, "-m", "tests.record_use.serving", str(directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        address = process.stdout.readline().strip()
        assert address, "the record was not served"
        yield address
        process.stdin.close()


@contextmanager
def on_server() -> Iterator[str]:
    """The record in a database of its own on that server, dropped at the end."""
    store = Store(server_dsn())
    store.address = dataclasses.replace(store.address, database=f"t{uuid.uuid4().hex[:12]}")

    async def fill() -> None:
        await migrate(store)
        await Keyring(store).prepare()
        await record_events(store, afternoon().events)
        await erase(store)
        await seal(store)

    async def drop() -> None:
        await store.command(f"DROP DATABASE {store.address.database}")
        await store.close()

    asyncio.run(fill())
    yield f"{os.environ['CLICKHOUSE_URL'].rstrip('/')}?database={store.address.database}"
    asyncio.run(drop())


@pytest.fixture(scope="session")
def world() -> World:
    return afternoon()


@pytest.fixture
def record(served: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """The served record as commands read it."""
    monkeypatch.setenv("COUNTERSIGN_CLICKHOUSE_URL", served)
    with open_record(None) as record:
        assert isinstance(record, Endpoint)
        yield record


class Asking(Cli):
    """The command, asking the served record."""

    def __init__(self, directory: Path, served: str) -> None:
        super().__init__(directory)
        self.environment["COUNTERSIGN_CLICKHOUSE_URL"] = served

    def ok(self, *arguments: str) -> str:
        """Its output, after it went well."""
        ended = self.run(*arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def refused(self, *arguments: str) -> Ended:
        ended = self.run(*arguments)
        assert ended.returncode != 0
        assert ended.stderr.count("\n") == 1
        return ended


@pytest.fixture
def cli(tmp_path: Path, served: str) -> Asking:
    return Asking(tmp_path, served)
