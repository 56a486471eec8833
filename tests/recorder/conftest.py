"""One chDB engine for the whole test process (chDB allows one directory per process), shared by all tests here.

Tests that need a fresh directory, a crash or a reopened engine run a script in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import chdb
import pytest

from services.recorder.clickhouse import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def engine_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one directory this test process may open with chDB."""
    return tmp_path_factory.mktemp("chdb") / "audit"


def engines() -> list[str]:
    """The embedded engine always, and the server that CLICKHOUSE_URL names (http://user:password@host:8123)."""
    return ["chdb", *(["server"] if os.environ.get("CLICKHOUSE_URL") else [])]


def server_dsn() -> str:
    """CLICKHOUSE_URL as `audit.dsn` has it."""
    scheme, _, rest = os.environ["CLICKHOUSE_URL"].partition("://")
    return f"{ {'http': 'clickhouse', 'https': 'clickhouses'}.get(scheme, scheme) }://{rest}"


@pytest.fixture(scope="session", params=engines())
def engine_dsn(engine_dir: Path, request: pytest.FixtureRequest) -> str:
    return server_dsn() if request.param == "server" else f"chdb://{engine_dir}"


@pytest.fixture(scope="module")
def open_engine(engine_dir: Path) -> Iterator[None]:
    """Keep the engine running between a module's tests: otherwise each starts it again (0.1 s)."""
    engine_dir.mkdir(parents=True, exist_ok=True)
    anchor = chdb.connect(os.path.realpath(engine_dir))
    yield
    anchor.close()


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Store]:
    """A store on the shared engine."""
    store = Store(engine_dsn)
    yield store
    await store.close()


@pytest.fixture
def table_name() -> str:
    """A table name no other test uses."""
    return f"t_{uuid.uuid4().hex}"


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in its own process, where it may open its own chDB directory."""

    def run(script: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *args]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=check)

    return run
