"""A service as small as can be, for test_service.py: its one piece of work ends when a file appears.

`python -m tests.runtime.sample_service --config FILE --data DIR`; what it does is written to <data>/story.
"""

import asyncio
import os

from services.runtime import admin
from services.runtime.service import Context, run


class Sample:
    """Started, and with work under way."""

    def __init__(self, context: Context) -> None:
        self._context, self._data = context, context.data.keys.parent  # `keys` makes the directory

    def tell(self, what: str) -> None:
        with (self._data / "story").open("a") as story:
            story.write(what + "\n")

    async def work(self) -> None:
        while not (self._data / "finish").exists():
            await asyncio.sleep(0.005)
        self.tell("worked")

    async def stop(self) -> None:
        self.tell("draining")
        await self._work
        self.tell("stopped")

    async def begin(self) -> None:
        app = admin.application(self._context.health, self._context.registry)
        _, self._context.listening["policy"] = await admin.serve(app, self._context.settings.listen.policy)
        self._work = self._context.tasks.start(self.work(), "work")


async def start(context: Context) -> Sample:
    """As the environment says: `SAMPLE=hang` never starts, `SAMPLE=fail` fails in the background."""
    sample = Sample(context)
    sample.tell("starting")
    if os.environ.get("SAMPLE") == "hang":
        await asyncio.Event().wait()
    await sample.begin()
    if os.environ.get("SAMPLE") == "fail":
        (context.data.root / "finish").touch()
        context.tasks.start(_fail(), "doomed")
    return sample


async def _fail() -> None:
    raise LookupError("this may not be ignored")


if __name__ == "__main__":
    run("policy", start)
