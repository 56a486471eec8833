"""A service that does nothing but run: the real `service.run`, its admin pages, and a few ways to misbehave.

`python -m tests.cli.standin NAME --config … --data …`. It writes the names of its environment variables to
`<data>/NAME.env`, and misbehaves as `<data>/NAME.does` says: `crash` (at once, after a line), `misuse` (exit 2).
"""

import os
import sys
from pathlib import Path

from services.runtime import admin
from services.runtime.service import Context, arguments, run


class Standin:
    def __init__(self, runner: admin.web.AppRunner) -> None:
        self._runner = runner

    async def stop(self) -> None:
        await self._runner.cleanup()


async def start(context: Context) -> Standin:
    front = "http" if context.name == "ingress" else context.name
    runner, address = await admin.serve(
        admin.application(context.health, context.registry), getattr(context.settings.listen, front)
    )
    context.listening[front] = address
    return Standin(runner)


def misbehave(root: Path, name: str) -> None:
    file = root / f"{name}.does"
    match file.read_text() if file.exists() else "":
        case "crash":
            sys.exit(f"{name}: the tea is cold")
        case "misuse":
            print("connectors.openai.inject.value: OPENAI_API_KEY is not set", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    name, argv = sys.argv[1], sys.argv[2:]
    root = arguments(name, argv)[1].root
    (root / f"{name}.env").write_text("\n".join(sorted(os.environ)))
    misbehave(root, name)
    run(name, start, argv)
