"""The afternoon of `world.py` on record and served, once for all tests here; and the command, which asks it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from countersign.record import Endpoint, Record
from countersign.record import opened as open_record
from tests.cli.conftest import REPOSITORY, Cli, Ended
from tests.record_use.world import World, afternoon

#: Before the first event of the world, for commands that want a beginning.
SINCE = "2026-11-20"
#: Pictures that tests keep; not in git.
ARTEFACTS = REPOSITORY / "artefacts"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a served record, with user and password."""
    directory = tmp_path_factory.mktemp("record") / "clickhouse"
    command = [sys.executable, "-m", "tests.record_use.serving", str(directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        address = process.stdout.readline().strip()
        assert address, "the record was not served"
        yield address
        process.stdin.close()


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
