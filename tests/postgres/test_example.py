"""examples/postgres as a user runs it: `countersign up`, psql and psycopg over TLS, the audit, and a clean end."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.cli.conftest import REPOSITORY, Cli, Up, eventually
from tests.postgres.server import Server

EXAMPLE = REPOSITORY / "examples" / "postgres"
LISTEN = dict.fromkeys(("http", "postgres", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0")


@pytest.fixture(scope="module")
def shop(postgres: Server) -> Iterator[str]:
    """The database of the example."""
    postgres.execute("CREATE DATABASE shop OWNER svc_scram STRATEGY FILE_COPY")
    with postgres.connect("shop") as connection:
        connection.execute("CREATE TABLE customers (id int, email text, city text)")
        connection.execute("INSERT INTO customers VALUES (1, 'ada@example.com', 'London')")
        connection.execute("GRANT ALL ON customers TO svc_scram")
    yield "shop"
    postgres.execute("DROP DATABASE shop WITH (FORCE)")


@pytest.fixture(scope="module")
def up(postgres: Server, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Up]]:
    """The example's two files, running; only the addresses differ, and TLS is on."""
    cli = Cli(tmp_path_factory.mktemp("example"))
    settings = yaml.safe_load((EXAMPLE / "countersign.yaml").read_text())
    settings["listen"], settings["limits"] = LISTEN | {"tls": "auto"}, {"verdict_timeout": "20s"}
    settings["connectors"]["orders"]["upstream"] = {
        "host": postgres.host, "port": postgres.port, "database": shop, "sslmode": "disable",
    }  # fmt: skip
    settings["connectors"]["orders"]["credential"]["user"] = "svc_scram"
    (cli.directory / "countersign.yaml").write_text(yaml.safe_dump(settings))
    (cli.directory / "policy.yaml").write_text((EXAMPLE / "policy.yaml").read_text())
    running = cli.start("countersign", "--json", ORDERS_PASSWORD=postgres.password("svc_scram"))
    try:
        running.wait_ready()
        yield cli, running
    finally:
        running.stop()
        assert running.process.stdout
        running.process.stdout.close()


def options(cli: Cli, up: Up, **more: Any) -> dict[str, Any]:
    host, _, port = up.endpoints["postgres"].rpartition(":")
    token = cli.run("token", "--subject", "my-agent", "--groups", "agents").stdout.strip()
    given = {"host": host, "port": int(port), "dbname": "orders", "user": "me", "password": token}
    root = str(cli.directory / "data" / "keys" / "ca.pem")
    return given | {"sslmode": "verify-full", "sslrootcert": root, "connect_timeout": 30} | more


def test_reads_are_masked_and_drops_denied(up: tuple[Cli, Up]) -> None:
    cli, running = up
    with psycopg.connect(**options(cli, running), autocommit=True) as connection:
        (row,) = connection.execute("SELECT * FROM customers").fetchall()
        assert (row[0], row[2]) == (1, "London")
        assert "ada@example.com" not in row[1]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="DROP and TRUNCATE are not allowed"):
            connection.execute("DROP TABLE customers")
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (1,)


def test_direct_tls_is_spoken_by_the_processes_too(up: tuple[Cli, Up]) -> None:
    cli, running = up
    if psycopg.pq.version() < 170000:
        pytest.skip("sslnegotiation came with libpq 17")
    with psycopg.connect(**options(cli, running, sslnegotiation="direct")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_psql_over_the_line_that_up_prints(up: tuple[Cli, Up], postgres: Server) -> None:
    cli, running = up
    given = options(cli, running, sslmode="prefer", sslrootcert="")
    place = f"host={given['host']} port={given['port']} dbname=orders user=my-agent"
    done = subprocess.run(
        [str(postgres.programs / "psql"), "-X", "-A", "-t", "-c", "SELECT city FROM customers", place],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": given["password"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("London\n", "")


def test_it_is_on_record(up: tuple[Cli, Up], postgres: Server) -> None:
    cli, running = up
    with psycopg.connect(**options(cli, running), autocommit=True) as connection:
        connection.execute("SELECT city FROM customers WHERE id = %s", (1,))
    query = "SELECT action, outcome, rows FROM operations WHERE statement LIKE '%WHERE id =%'"

    def forwarded() -> str:
        shown = cli.run("audit", "sql", query, "--format", "JSONEachRow").stdout
        return shown if "forwarded" in shown else ""

    row = json.loads(eventually(forwarded).splitlines()[0])
    assert (row["action"], row["outcome"], int(row["rows"])) == ("sql.select", "forwarded", 1)
    everything = cli.run("audit", "sql", "SELECT * FROM events", "--format", "JSONEachRow").stdout
    everything += Path(running.log).read_text()
    assert postgres.password("svc_scram") not in everything
    assert "ada@example.com" not in everything
