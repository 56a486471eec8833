"""A real PostgreSQL with the database of the corpora."""

from collections.abc import Iterator

import pytest

from tests.postgres.server import Server, running
from tests.postgres_sql.database import Database, opened


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Without a log of each statement: there are thousands."""
    with running(log_statement="none") as server:
        yield server


@pytest.fixture(scope="session")
def database(server: Server) -> Iterator[Database]:
    """`SCHEMA`, read only: what a test changes is rolled back."""
    database = opened(server, "corpus")
    yield database
    database.connection.close()
