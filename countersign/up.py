"""`countersign up`: an embedded instance in the foreground. What it does in which order stands in `instance`."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import orjson
import typer

from countersign import endpoints, environment
from countersign.endpoints import Endpoints
from countersign.errors import Misuse
from countersign.instance import Instance
from countersign.lock import Lock
from countersign.policy_file import applier, reviewers
from countersign.where import LOCAL_CA, DataOption, data_dir
from services.runtime import logs
from services.runtime.settings import Settings, SettingsError, load

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@app.command()
def up(
    config: Annotated[Path, typer.Option(metavar="FILE", help="Settings.")] = Path("countersign.yaml"),
    data: DataOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the endpoints as one JSON line.")] = False,
) -> None:
    """Run NATS and all services here until Ctrl-C, and print where they listen."""
    settings = _settings(config)
    directory = data_dir(data)
    logs.configure("up", settings.telemetry.log, settings.telemetry.level)
    lock = Lock(directory.root)
    instance = Instance(settings, config, directory, applier)

    def ready(found: Endpoints) -> None:
        ca = directory.root / "keys" / LOCAL_CA
        shown = (
            orjson.dumps(found).decode()
            if json
            else endpoints.summary(
                found, settings, str(directory.root), str(ca) if ca.exists() else None, reviewers(instance.policy_file)
            )
        )
        print(shown, flush=True)

    asyncio.run(_run(instance, lock, ready))


async def _run(instance: Instance, lock: Lock, ready: Callable[[Endpoints], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` means it
            loop.add_signal_handler(number, instance.stop)
    await instance.run(lock.descriptor, ready)


def _settings(config: Path) -> Settings:
    try:
        settings = load(config)
    except SettingsError as error:
        raise Misuse(str(error)) from None
    if settings.nats.servers != "embedded":
        raise Misuse(
            f"{config}: nats.servers names a deployed NATS, and `up` runs its own; "
            "remove it, or start the services by themselves (docs/operators.md)"
        )
    if missing := sorted(environment.names(settings) - os.environ.keys()):
        raise Misuse(f"{config}: not set in the environment: {', '.join(missing)}; export and start again")
    return settings
