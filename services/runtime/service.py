"""How every service starts, stays up and ends: arguments, settings, logs, signals, drain.

A service's `__main__` is `run("policy", start)`, where `start(context)` returns an object with `stop()`. The
supervisor (`countersign up`) learns a child's real addresses from one JSON line on its stdout.
"""

import argparse
import asyncio
import errno
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

import structlog
import uvloop
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from services.runtime import logs
from services.runtime.admin import Health
from services.runtime.data_dir import DataDir
from services.runtime.settings import Address, Settings, SettingsError, load
from services.runtime.tasks import TaskGroup, end
from services.runtime.telemetry import tracer_provider

log = structlog.get_logger(__name__)


class Running(Protocol):
    """A started service."""

    async def stop(self) -> None:
        """Take no new work, finish what is under way, close everything."""


@dataclass
class Context:
    """What a service is given at start."""

    name: str
    settings: Settings
    data: DataDir
    health: Health
    registry: CollectorRegistry
    tracer_provider: TracerProvider | None
    tasks: TaskGroup
    stopping: asyncio.Event
    listening: dict[str, Address] = field(default_factory=dict)
    failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Stop the service because of an error that nobody may ignore."""
        self.failure = self.failure or error
        self.stopping.set()


Start = Callable[[Context], Awaitable[Running]]


def arguments(name: str, argv: list[str] | None = None) -> tuple[Settings, DataDir]:
    """`--config FILE --data DIR`; ends the process with one line on stderr and status 2 when they are wrong."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    parser.add_argument("--config", type=Path, default=Path("countersign.yaml"), help="settings (countersign.yaml)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="data directory (./data)")
    given = parser.parse_args(argv)
    try:
        return _supervised(load(given.config)), DataDir(given.data)
    except SettingsError as error:
        _refuse(error)


def _supervised(settings: Settings) -> Settings:
    """The settings as `countersign up` amends them: its terminal, and for a restarted child its predecessor's ports.

    `COUNTERSIGN_LOG=pretty`, `COUNTERSIGN_LISTEN_HTTP=127.0.0.1:43210`.
    """
    listen = {
        name: Address.parse(value)
        for name in type(settings.listen).model_fields
        if (value := os.environ.get(f"COUNTERSIGN_LISTEN_{name.upper()}"))
    }
    telemetry = {"log": log} if (log := os.environ.get("COUNTERSIGN_LOG")) else {}
    return settings.model_copy(
        update={
            "listen": settings.listen.model_copy(update=listen),
            "telemetry": settings.telemetry.model_copy(update=telemetry),
        }
    )


def run(name: str, start: Start, argv: list[str] | None = None) -> None:
    """Run a service until SIGTERM or SIGINT. Exits 2 for wrong settings, 1 when it failed."""
    settings, data = arguments(name, argv)
    logs.configure(name, settings.telemetry.log, settings.telemetry.level)
    _calm_collector()
    _allow_files()
    try:
        failure = uvloop.run(_serve(name, start, settings, data))
    except SettingsError as error:
        _refuse(error)
    except OSError as error:
        if taken := _taken(error, settings):
            _refuse(taken)
        _refuse(error, status=1)
    sys.exit(1 if failure else 0)


def _taken(error: OSError, settings: Settings) -> SettingsError | None:
    """In the settings' words, when somebody else listens where we should."""
    if error.errno != errno.EADDRINUSE:
        return None
    for name in type(settings.listen).model_fields:
        at = getattr(settings.listen, name)
        if isinstance(at, Address) and at.port and f"', {at.port}" in str(error):
            return SettingsError(
                f"countersign.yaml: listen.{name}: {at} is taken by another program; end it, or choose another port"
            )
    return None


def _allow_files() -> None:
    """Each connection is an open file: take as many as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems promise more than they give
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _calm_collector() -> None:
    """Collect cycles rarely: requests make few, and each pass over a large heap is a pause (measured: a tenth)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(name: str, start: Start, settings: Settings, data: DataDir) -> BaseException | None:
    stopping = asyncio.Event()
    context = Context(
        name=name,
        settings=settings,
        data=data,
        health=Health(name),
        registry=CollectorRegistry(),
        tracer_provider=tracer_provider(name, settings.telemetry),
        tasks=TaskGroup(name, on_error=lambda error: context.fail(error)),
        stopping=stopping,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    running = await _start_unless_stopped(start, context)
    if running is not None:
        _announce(context)
        await stopping.wait()
        await _stop(running, context)
    await context.tasks.cancel()
    if context.tracer_provider:
        context.tracer_provider.shutdown()
    return context.failure


async def _start_unless_stopped(start: Start, context: Context) -> Running | None:
    """A signal during a long start (NATS is away) ends it."""
    starting = asyncio.ensure_future(start(context))  # noqa: TID251 - it is awaited right here
    waiting = asyncio.ensure_future(context.stopping.wait())  # noqa: TID251
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if starting.done():
        return starting.result()
    await end(starting)
    return None


async def _stop(running: Running, context: Context) -> None:
    context.health.draining = True
    log.info("draining", seconds=context.settings.limits.drain)
    try:
        async with asyncio.timeout(context.settings.limits.drain + 5):
            await running.stop()
    except TimeoutError:
        log.warning("drain took too long; ending now")


def _announce(context: Context) -> None:
    """One line on stdout: `{"service": "policy", "listening": {"policy": "127.0.0.1:9101"}}`."""
    listening = {name: str(address) for name, address in context.listening.items()}
    print(json.dumps({"service": context.name, "listening": listening}), flush=True)  # noqa: T201 - for the supervisor
    log.info("ready", **listening)


def _refuse(error: Exception, status: int = 2) -> NoReturn:
    print(str(error), file=sys.stderr)  # noqa: T201 - before logging is set up
    sys.exit(status)
