"""A whole Countersign of real processes: NATS and the services, each its own child, killed and started at will.

Unlike `countersign up` nothing is restarted by itself: what is dead stays dead until a test starts it again. A
restarted copy gets its addresses back, as a supervisor would give them. Counterpart: countersign/instance.py.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from shutil import disk_usage
from typing import Any, cast

import aiohttp
import yaml
from nats.aio.client import Client

from countersign import environment
from services.policy.apply import apply
from services.runtime import keys
from services.runtime.data_dir import DataDir
from services.runtime.identity.local import LocalIssuer
from services.runtime.nats.client import BusAddress, close, connect
from services.runtime.nats.permissions import Role
from services.runtime.nats.provision import provision
from services.runtime.nats.server import EmbeddedNats, passwords
from services.runtime.settings import load
from tests.conftest import until
from tests.guarantees.upstream import Upstream

REPOSITORY = Path(__file__).parents[2]
ROLES: tuple[Role, ...] = ("recorder", "policy", "approver", "ingress")
#: Which of its addresses a service answers `/-/health/ready` on.
FRONTS = {"ingress": "http", "policy": "policy", "approver": "approver", "recorder": "recorder"}
#: Seconds until a service answers; chDB's first migration on a busy machine is the longest part.
READY = 90.0
#: Seconds for a reply of the gateway, unless it holds: well beyond the verdict timeout, so that it only ends hangs.
PATIENCE = 60.0

#: The environment variable with the upstream's credential, and what stands in it.
CREDENTIAL_VARIABLE = "VENDOR_KEY"
CREDENTIAL = "canary-b7e1-vendor-credential-93f0"
IN_HEADER = {"header": "Authorization", "value": f"Bearer ${{env:{CREDENTIAL_VARIABLE}}}"}
IN_QUERY = {"query": "key", "value": f"${{env:{CREDENTIAL_VARIABLE}}}"}
#: An upstream that refuses connections: nothing listens on the port of the discard protocol (RFC 863).
NOBODY = "http://127.0.0.1:9"
#: Five processes share two cores with another worker's: no verdict of a policy that lives takes longer.
VERDICT_TIMEOUT = 5.0
#: Operations in flight in one ingress.
OPERATIONS = 40

POLICY = """
rules:
  - {name: charges, when: 'operation.path.startsWith("/charges/")', allow: true}
  - name: refunds-need-a-person
    when: 'operation.path.startsWith("/refunds/")'
    approve: {by: [finance], expires: 10m}
  - name: payouts-need-a-person
    when: 'operation.path.startsWith("/payouts/")'
    approve: {by: [finance], expires: 10m, grant: 1h, max_uses: 4}
  - {name: no-deletes, when: 'action == "http.delete"', deny: "nothing is deleted here"}
"""


@dataclass
class Copy:
    """One copy of a service over all its restarts."""

    name: str
    role: Role
    log: Path
    process: Process | None = None
    #: `listen` name to `host:port`, as first announced.
    listening: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def url(self) -> str:
        """Where it answers its health page and, for an ingress, its agents."""
        return f"http://{self.listening[FRONTS[self.role]]}"

    def announced(self) -> dict[str, str] | None:
        """The addresses of the running process, once it has said them on stdout."""
        assert self.process
        for line in self.log.with_suffix(f".{self.process.pid}.out").read_text().splitlines():
            return cast("dict[str, str]", json.loads(line)["listening"])
        if self.process.returncode is not None:
            raise AssertionError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        return None


@dataclass
class Stack:
    """NATS, any number of copies of each service, and the upstream behind them."""

    root: Path
    upstream: Upstream
    exit: AsyncExitStack
    settings: Mapping[str, Any] = field(default_factory=dict)
    copies: dict[str, Copy] = field(default_factory=dict)
    #: Killed with SIGKILL, by role.
    kills: dict[str, int] = field(default_factory=dict)
    #: Every token that was minted.
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = DataDir(self.root / "data")
        self.nats = EmbeddedNats(self.data)
        self.config = self.root / "countersign.yaml"

    # ---- life -----------------------------------------------------------------------------------------------------

    async def boot(self, names: Iterable[str] = ROLES) -> "Stack":
        """Keys, NATS, policy, then these copies side by side, until all are ready."""
        self.config.write_text(yaml.safe_dump(self._document()))
        keys.create_approver_keys(self.data)
        keys.digest_key(self.data)
        self.data.secret_file(self.data.audit_password.name)
        self.issuer = LocalIssuer.load_or_create(self.data.keys)
        self.passwords = passwords(self.data)
        os.environ[CREDENTIAL_VARIABLE] = CREDENTIAL  # as in the shell that `countersign up` is started from
        self.exit.callback(os.environ.pop, CREDENTIAL_VARIABLE)
        self.http = await self.exit.enter_async_context(aiohttp.ClientSession())
        self.exit.push_async_callback(self.kill_all)
        await self.nats.start()
        self.admin = await self.connect("admin")
        await provision(self.admin, load(self.config).nats, free=disk_usage(self.root).free)
        await apply(self.admin, POLICY, applied_by="tests")
        await asyncio.gather(*(self.start(name) for name in names))
        return self

    async def start(self, name: str) -> Copy:
        """Start a copy (`policy`, `policy-2`, …), or NATS, again or for the first time; returns when it is ready."""
        copy = self.launch(name, await self._spawn(name))
        copy.listening = await until(copy.announced, READY)
        await until(lambda: self.ready(name), READY)
        return copy

    def launch(self, name: str, process: Process) -> Copy:
        role = cast("Role", name.partition("-")[0])
        copy = self.copies.setdefault(name, Copy(name, role, self.root / f"{name}.log"))
        copy.process = process
        return copy

    async def start_nats(self) -> None:
        """Start it again on the port and the store it had, and wait for our own connection."""
        await self.nats.start()
        await until(lambda: self.admin.is_connected, READY)

    async def kill(self, name: str) -> None:
        """SIGKILL: what a crash, or the kernel short of memory, does."""
        self.kills[name.partition("-")[0]] = self.kills.get(name.partition("-")[0], 0) + 1
        if name == "nats":
            return await self.nats.kill()
        process = self.copies[name].process
        assert process
        process.kill()
        await process.wait()
        return None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP: a process that keeps its connections and does nothing."""
        process = self.nats.process if name == "nats" else self.copies[name].process
        assert process
        process.send_signal(number)

    async def restart(self, name: str) -> None:
        """After `kill`."""
        await (self.start_nats() if name == "nats" else self.start(name))

    async def kill_all(self) -> None:
        """End whatever still runs."""
        for copy in self.copies.values():
            if copy.process and copy.alive:
                copy.process.kill()
                await copy.process.wait()
        await self.nats.stop()

    async def ready(self, name: str) -> bool:
        """Whether its health page says so."""
        if name == "nats":
            return self.admin.is_connected
        try:
            async with self.http.get(f"{self.copies[name].url}/-/health/ready") as reply:
                return reply.status == 200
        except aiohttp.ClientError:
            return False

    # ---- use ------------------------------------------------------------------------------------------------------

    async def connect(self, role: Role) -> Client:
        """A connection with a service's own user and password, closed in the end."""
        client = await connect(self.bus(role))
        self.exit.push_async_callback(close, client)
        return client

    def bus(self, role: Role) -> BusAddress:
        return BusAddress(role, (self.nats.url,), role, self.passwords[role])

    def token(self, subject: str = "agent-7", groups: tuple[str, ...] = ("agents",), **claims: Any) -> str:
        """A token of the local issuer: of an agent, unless `kind` says otherwise."""
        self.tokens.append(self.issuer.mint(subject, groups, ttl=timedelta(hours=1), **claims))
        return self.tokens[-1]

    async def metric(self, name: str, sample: str) -> float | None:
        """The value of one sample (`name{label="value"}`) on a copy's metrics page; None when it is not there."""
        async with self.http.get(f"{self.copies[name].url}/-/metrics") as reply:
            for line in (await reply.text()).splitlines():
                if line.startswith(f"{sample} "):
                    return float(line.rpartition(" ")[2])
        return None

    def logs(self) -> str:
        """Everything that every process ever wrote."""
        files = [*self.root.glob("*.log"), *self.root.glob("*.out"), *self.data.nats.glob("*.log")]
        return "\n".join(file.read_text(errors="replace") for file in files)

    # ---- parts ----------------------------------------------------------------------------------------------------

    async def _spawn(self, name: str) -> Process:
        role = cast("Role", name.partition("-")[0])
        known = self.copies.get(name)
        arguments = ("-m", f"services.{role}", "--config", str(self.config), "--data", str(self.data.root))
        with (self.root / f"{name}.log").open("ab") as log, (self.root / f"{name}.starting").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *arguments),
                stdin=DEVNULL,
                stdout=out,
                stderr=log,
                env=self.environment(role) | (pins(known) if known else {}),
                cwd=self.root,
            )
        (self.root / f"{name}.starting").rename(self.root / f"{name}.{process.pid}.out")
        return process

    def environment(self, role: Role) -> dict[str, str]:
        """What `countersign up` would show this service, decided by its own code."""
        bus = {"COUNTERSIGN_NATS": self.nats.url, "COUNTERSIGN_NATS_PASSWORD": self.passwords[role]}
        secrets = environment.secrets(role, load(self.config))
        return environment.basics(role) | secrets | bus | {"PYTHONPATH": str(REPOSITORY)}

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "listen": dict.fromkeys(("http", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0"),
            "limits": {"verdict_timeout": VERDICT_TIMEOUT, "operations": OPERATIONS},
            "approvals": {"wait": "120s"},
            "audit": {"batch_age": "200ms"},
            "telemetry": {"log": "json"},
            "connectors": {
                "vendor": {"upstream": self.upstream.url, "inject": IN_HEADER},
                "query": {"upstream": self.upstream.url, "inject": IN_QUERY},
                "gone": {"upstream": NOBODY, "inject": IN_HEADER},
                "gone-query": {"upstream": NOBODY, "inject": IN_QUERY},
            },
        }
        for key, value in self.settings.items():
            document[key] = {**document.get(key, {}), **value}
        return document


def pins(copy: Copy) -> dict[str, str]:
    """The addresses a restarted copy must take again."""
    return {f"COUNTERSIGN_LISTEN_{name.upper()}": address for name, address in copy.listening.items()}
