"""`make bench-postgres`: what judging, masking and recording every statement costs at a database.

pgbench's select-only script with one and with 16 clients, and one SELECT of a million rows: direct, through PgBouncer
where it is installed, and through `countersign up` with all services, in turn within one run, everything on the same
cores. Ratios count: a shared machine's absolute numbers drift. Counterpart: bench/pipeline.py.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.pipeline import process, token
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.codec.startup import Startup
from tests.postgres.server import Server, running

DATABASE, ROLE = "bench", "svc_trust"
CLIENTS = (1, 16)
MODES = ("simple", "prepared")
ROWS = 1_000_000
POLICY = """\
rules:
  - name: reads
    when: connector.protocol == "postgres" && action == "sql.select" && "agents" in identity.groups
    allow: true
  - name: contents-are-masked
    when: connector.name == "masked" && action == "sql.select"
    allow: true
    mask: {response: [pii, secrets]}
  - name: a-column-is-masked
    when: connector.name == "column" && action == "sql.select"
    allow: true
    mask: {columns: [wide.email]}
  - name: sessions
    when: action in ["sql.set", "sql.transaction"]
    allow: true
  - name: writes-need-a-person
    when: action in ["sql.insert", "sql.update", "sql.delete"]
    approve: {by: [dba]}
"""
WIDE = f"""
CREATE TABLE wide AS SELECT n AS id, md5(n::text) AS name, 'user' || n || '@example.com' AS email,
    repeat('lorem ipsum ', 4) AS note FROM generate_series(1, {ROWS}) n
"""
READY = backend.ReadyForQuery(b"I").encode()


@dataclass(frozen=True)
class Target:
    """Where a client connects, and as whom."""

    host: str
    port: int
    database: str
    user: str
    password: str = ""

    @property
    def options(self) -> list[str]:
        """As pgbench and psql take them."""
        return ["-h", self.host, "-p", str(self.port), "-U", self.user]


@dataclass(frozen=True)
class Burst:
    """One run of pgbench."""

    per_second: float
    #: Milliseconds a statement.
    p50: float


@dataclass(frozen=True)
class Pull:
    """One large result."""

    rows_per_second: float
    bytes_per_second: float
    #: MiB by which the process in between grew at its peak.
    grown: float


def pgbench(programs: Path, target: Target, clients: int, seconds: float, mode: str = "simple") -> Burst:
    """Select-only; latencies from its log. `simple` sends another text each time, `prepared` one with parameters."""
    with tempfile.TemporaryDirectory(prefix="countersign-pgbench-") as directory:
        command = [str(programs / "pgbench"), *target.options, "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1"]
        command += ["-T", f"{seconds:.0f}", "--log", f"--log-prefix={directory}/log", target.database]
        done = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": target.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"pgbench: {done.stderr}")
        latencies = [int(line.split()[2]) for log in Path(directory).iterdir() for line in log.read_text().splitlines()]
    return Burst(len(latencies) / seconds, statistics.median(latencies) / 1000)


def pull(target: Target, between: int | None) -> Pull:
    """A million rows, counted by their bytes alone, so that the client costs next to nothing."""
    with socket.create_connection((target.host, target.port)) as connection:
        hello = Startup((3, 0), {"user": target.user, "database": target.database}).encode()
        connection.sendall(hello)
        log_in(connection, target)
        before = fresh_peak(between)
        started, size, tail = time.perf_counter(), 0, b""
        connection.sendall(frontend.Query(b"SELECT * FROM wide").encode())
        buffer = bytearray(1 << 20)
        while not tail.endswith(READY):
            if not (count := connection.recv_into(buffer)):
                raise SystemExit("the connection broke")
            size += count
            tail = (tail + bytes(buffer[max(0, count - 64) : count]))[-64:]
        took = time.perf_counter() - started
        if f"SELECT {ROWS}".encode() not in tail:
            raise SystemExit(f"{target.database}: not all rows came: {tail!r}")
        return Pull(ROWS / took, size / took, peak(between) - before)


def log_in(connection: socket.socket, target: Target) -> None:
    """Until the server is ready; with the password, should it ask."""
    decoder = backend.decoder()
    while True:
        decoder.feed(connection.recv(65536))
        for item in decoder.frames():
            assert isinstance(item, Frame)
            match backend.read(item):
                case backend.Authentication(code=backend.CLEARTEXT):
                    connection.sendall(frontend.password(target.password.encode()))
                case backend.Report(kind=backend.ERROR) as report:
                    raise SystemExit(f"{target.database}: {report['M'].decode()}")
                case backend.ReadyForQuery():
                    return


def fresh_peak(pid: int | None) -> float:
    """Forget a process's peak of memory; its resident MiB now."""
    if pid is not None:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int | None) -> float:
    """Largest resident size since then, in MiB (proc(5), VmHWM)."""
    if pid is None:
        return 0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def pgbouncer(server: Server, directory: Path) -> Iterator[tuple[Target, int] | None]:
    """PgBouncer before the server, in session mode, where it is installed."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (directory / "users.txt").write_text(f'"{ROLE}" ""\n')
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host={server.host} port={server.port} dbname={DATABASE}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nauth_file = {directory}/users.txt\n"
        f"pool_mode = session\nignore_startup_parameters = extra_float_digits\nunix_socket_dir =\n"
    )
    (directory / "pgbouncer.ini").write_text(
        (directory / "pgbouncer.ini").read_text().replace(f"dbname={DATABASE}", f"dbname={DATABASE} user={ROLE}")
    )
    directory.chmod(0o755)
    user = "nobody" if os.geteuid() == 0 else None  # like PostgreSQL, it does not run as root
    child = subprocess.Popen([program, "-q", str(directory / "pgbouncer.ini")], user=user, stderr=subprocess.DEVNULL)
    try:
        until_listening(port)
        yield Target("127.0.0.1", port, DATABASE, ROLE), child.pid
    finally:
        child.terminate()
        child.wait(30)


def until_listening(port: int) -> None:
    """Wait for a server to come up."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def settings(server: Server, sync: str) -> str:
    """One database under three names, so that a rule can tell what is masked."""
    listen = ", ".join(
        f'{name}: "127.0.0.1:0"' for name in ("http", "postgres", "clickhouse", "policy", "approver", "recorder")
    )
    place = f"{{host: {server.host}, port: {server.port}, database: {DATABASE}, sslmode: disable}}"
    connectors = "\n".join(
        f"  {name}: {{protocol: postgres, upstream: {place}, credential: {{user: {ROLE}}}}}"
        for name in ("plain", "masked", "column")
    )
    rest = f"nats: {{sync: {sync}}}\ntelemetry: {{log: json, level: warning}}\n"
    return f"listen: {{{listen}}}\nconnectors:\n{connectors}\n{rest}"


def service(name: str) -> int:
    """The process of one of the gateway's services."""
    for child in psutil.Process().children(recursive=True):
        if f"services.{name}" in child.cmdline():
            return int(child.pid)
    raise SystemExit(f"{name} does not run")


def short_table(bursts: dict[tuple[str, str, int], list[Burst]], names: list[str]) -> str:
    """pgbench, medians over the rounds, as Markdown."""
    lines = ["| protocol | path | clients | p50 ms | statements/s | added p50 ms |", "|---|---|---:|---:|---:|---:|"]
    for mode, clients in product(MODES, CLIENTS):
        for name in names:
            rounds = bursts[name, mode, clients]
            p50, rate = (
                statistics.median(values)
                for values in zip(*((each.p50, each.per_second) for each in rounds), strict=True)
            )
            added = statistics.median(
                each.p50 - direct.p50 for each, direct in zip(rounds, bursts["direct", mode, clients], strict=True)
            )
            lines.append(f"| {mode} | {name} | {clients} | {p50:.2f} | {rate:,.0f} | {added:+.2f} |")
    return "\n".join(lines)


def long_table(pulls: dict[str, list[Pull]], yardstick: str) -> str:
    """The large result, medians over the rounds, as Markdown."""
    lines = [f"| path | rows/s | MB/s | share of {yardstick} | peak grows by MiB |", "|---|---:|---:|---:|---:|"]
    for name, rounds in pulls.items():
        rows, size = (
            statistics.median(values)
            for values in zip(*((each.rows_per_second, each.bytes_per_second) for each in rounds), strict=True)
        )
        share = statistics.median(
            each.bytes_per_second / other.bytes_per_second for each, other in zip(rounds, pulls[yardstick], strict=True)
        )
        grown = max(each.grown for each in rounds)
        lines.append(f"| {name} | {rows:,.0f} | {size / 1e6:,.0f} | {share:.2f} | {grown:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Run it all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="per target, client count and round")
    parser.add_argument("--sync", choices=["default", "always"], default="default", help="JetStream's sync_interval")
    given = parser.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(running(log_statement="none"))
        prepare(server)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-bench-")))
        bouncer = stack.enter_context(pgbouncer(server, directory))
        (directory / "countersign.yaml").write_text(settings(server, given.sync))
        (directory / "policy.yaml").write_text(POLICY)
        data = directory / "data"
        config = str(directory / "countersign.yaml")
        up = stack.enter_context(process("countersign", "up", "--json", "--config", config, "--data", str(data)))
        host, _, port = json.loads(up)["postgres"].rpartition(":")
        bearer, ingress = token(data), service("ingress")
        direct = Target(server.host, server.port, DATABASE, ROLE)
        gateway = {name: Target(host, int(port), name, "bench", bearer) for name in ("plain", "masked", "column")}
        short = {"direct": direct} | ({"PgBouncer": bouncer[0]} if bouncer else {})
        short["countersign, full audit"] = gateway["plain"]
        bursts: dict[tuple[str, str, int], list[Burst]] = {}
        pulls: dict[str, list[Pull]] = {}
        long: dict[str, tuple[Target, int | None]] = {"direct": (direct, None)}
        if bouncer:
            long["PgBouncer"] = bouncer
        long["countersign, nothing masked"] = gateway["plain"], ingress
        long["countersign, one column masked"] = gateway["column"], ingress
        long["countersign, contents masked"] = gateway["masked"], ingress
        for target in short.values():
            pgbench(server.programs, target, 4, 1)
        for number in range(given.rounds):
            for mode, clients, (name, target) in product(MODES, CLIENTS, short.items()):
                burst = pgbench(server.programs, target, clients, given.seconds, mode)
                bursts.setdefault((name, mode, clients), []).append(burst)
                rate = f"{burst.per_second:,.0f}/s"
                print(f"round {number + 1}: {mode}, {name}, {clients} clients: {rate}", file=sys.stderr)
            for name, (target, pid) in long.items():
                pulled = pull(target, pid)
                pulls.setdefault(name, []).append(pulled)
                print(f"round {number + 1}: {name}: {pulled.rows_per_second:,.0f} rows/s", file=sys.stderr)
    print(f"pgbench -S, {os.cpu_count()} cores for everything, {given.rounds} rounds of {given.seconds:g} s\n")
    print(short_table(bursts, list(short)))
    print(f"\nSELECT of {ROWS:,} rows\n")
    print(long_table(pulls, "PgBouncer" if bouncer else "direct"))


def prepare(server: Server) -> None:
    """pgbench's tables, and the wide one, all in memory."""
    server.execute(f"CREATE DATABASE {DATABASE}")
    place = ["-h", str(server.home), "-p", str(server.port), "-U", "postgres"]
    command = [str(server.programs / "pgbench"), *place, "-i", "-q", DATABASE]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for statement in (WIDE, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}", "VACUUM ANALYZE"):
        server.execute(statement, DATABASE)


if __name__ == "__main__":
    main()
