"""How a service is started, what it says, and whether it is ready. Counterpart: services/runtime/service.py.

A service announces its real addresses as one JSON line on stdout. A restarted one gets them back through
COUNTERSIGN_LISTEN_<NAME>, so that agents and dashboards find it where it was even when the settings said port 0.
"""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import structlog

from countersign.output import Output
from countersign.supervisor import ChildFailed, end
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: From the process's start to its announcement: imports, the bus, migrations of an embedded store.
ANNOUNCEMENT_TIMEOUT = 120.0
#: One question for readiness.
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)
#: Between two questions.
PROBE_INTERVAL = 0.05


class Service:
    """One service's process and addresses, over all its restarts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        spawned: Callable[[Process], None],
    ) -> None:
        """`spawned` is told of each process before anything is awaited."""
        self.name = name
        #: `listen` name to `host:port`, as last announced.
        self.listening: dict[str, str] = {}
        self._command, self._environment, self._spawned = tuple(command), dict(environment), spawned
        self._output = Output()
        self._tasks = TaskGroup(name)

    def last_line(self) -> str:
        """What it logged last."""
        return self._output.last

    async def launch(self) -> Process:
        """Start it and wait for its announcement. Raises ChildFailed."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=self._environment | self._pins(),
            # A Ctrl-C on the terminal reaches the supervisor alone, which stops its children in order.
            start_new_session=True,
        )
        self._spawned(process)
        assert process.stdout
        assert process.stderr
        logs = self._tasks.start(self._output.pump(process.stderr), "stderr")
        try:
            async with asyncio.timeout(ANNOUNCEMENT_TIMEOUT):
                announced = await self._announcement(process.stdout)
        except TimeoutError:
            await end(process, patience=1)
            raise ChildFailed(None, f"did not start within {ANNOUNCEMENT_TIMEOUT:.0f} s") from None
        if announced is None:
            await asyncio.gather(process.wait(), logs)
            raise ChildFailed(process.returncode, self._output.last)
        self.listening = announced
        self._tasks.start(self._output.pump(process.stdout), "stdout")
        return process

    def _pins(self) -> dict[str, str]:
        return {f"COUNTERSIGN_LISTEN_{name.upper()}": address for name, address in self.listening.items()}

    async def _announcement(self, stdout: asyncio.StreamReader) -> dict[str, str] | None:
        """The announced addresses, or None when the output ended without."""
        with suppress(ValueError):  # a line beyond the reader's limit is no announcement
            while line := await stdout.readline():
                if (listening := _listening(line)) is not None:
                    return listening
                self._output.take(line)
        return None


def command(name: str, config: str, data: str) -> tuple[str, ...]:
    """The command line of a service."""
    return (sys.executable, "-m", f"services.{name}", "--config", config, "--data", data)


async def until_ready(session: aiohttp.ClientSession, address: Callable[[], str | None]) -> None:
    """Poll `/-/health/ready` until it answers 200. `address` is the base URL, or None while it is not known."""
    while await failing(session, address()) is not None:  # noqa: ASYNC110 - what is asked is another process
        await asyncio.sleep(PROBE_INTERVAL)


async def failing(session: aiohttp.ClientSession, base: str | None) -> str | None:
    """What keeps the service at this base URL from being ready, in a few words; None when it is."""
    if base is None:
        return "not started"
    try:
        # No certificate check: this asks our own child on this machine, and sends it nothing.
        async with session.get(f"{base}/-/health/ready", ssl=False, timeout=PROBE_TIMEOUT) as reply:
            if reply.status == 200:
                return None
            return _reasons(await reply.json(content_type=None)) or f"status {reply.status}"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return str(error) or "no answer"


def _reasons(body: Any) -> str:
    found = body.get("failing") if isinstance(body, dict) else None
    return ", ".join(f"{name}: {what}" for name, what in found.items()) if isinstance(found, dict) else ""


def _listening(line: bytes) -> dict[str, str] | None:
    try:
        listening = json.loads(line)["listening"]
    except (ValueError, TypeError, LookupError):
        return None
    return {str(name): str(address) for name, address in listening.items()}
