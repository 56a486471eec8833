"""One child process kept alive: started again when it ends, ever more slowly, and given up in a crash loop.

What the child is, `services` (our own) and `instance` (NATS) say through `launch`; this file knows processes only.
"""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from countersign.errors import CommandError, Misuse, one_line
from countersign.guardian import Guardian
from services.runtime.tasks import TaskGroup

log = structlog.get_logger(__name__)

#: This many ends within this many seconds are a crash loop: starting again does not help.
CRASHES = 5
CRASH_WINDOW = 60.0
#: Seconds before the first restart, doubled with every further one in the window, up to a bound that keeps an outage
#: short once its cause is gone.
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


class ChildFailed(Exception):
    """A start that came to nothing; the process, if any, has ended. `last_line` is what it said last."""

    def __init__(self, status: int | None, last_line: str) -> None:
        self.status, self.last_line = status, last_line
        super().__init__(last_line)


class Child:
    """A supervised process.

    `launch` starts it and returns once it works, or raises ChildFailed; `last_line` tells what it logged last.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], Awaitable[Process]],
        last_line: Callable[[], str] = str,
    ) -> None:
        self.name = name
        self.process: Process | None = None
        self.started = asyncio.Event()
        self._launch, self._last_line = launch, last_line
        self._ends: deque[float] = deque(maxlen=CRASHES)

    async def keep(self) -> None:
        """Run it, again and again. Ends only by CommandError: a first start refused, or a crash loop."""
        while True:
            status, words = await self._run_once()
            self._refuse_misuse(status, words)
            self._ends.append(time.monotonic())
            self._refuse_loop(words)
            delay = self.delay()
            log.warning("child ended", child=self.name, status=describe(status), restart_in=delay, last=words)
            await asyncio.sleep(delay)

    def delay(self) -> float:
        """Seconds until the next start."""
        recent = sum(end > time.monotonic() - CRASH_WINDOW for end in self._ends)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** max(0, recent - 1))

    async def _run_once(self) -> tuple[int | None, str]:
        try:
            self.process = await self._launch()
        except ChildFailed as failed:
            return failed.status, failed.last_line
        self.started.set()
        return await self.process.wait(), self._last_line()

    def _refuse_misuse(self, status: int | None, words: str) -> None:
        """Wrong settings at the first start are the user's to mend; starting again changes nothing."""
        if status == Misuse.status and not self.started.is_set():
            raise Misuse(words or f"{self.name} refused to start")

    def _refuse_loop(self, words: str) -> None:
        if len(self._ends) == CRASHES and self._ends[-1] - self._ends[0] < CRASH_WINDOW:
            raise CommandError(
                f"{self.name} ended {CRASHES} times within {CRASH_WINDOW:.0f} s; its last line: {one_line(words)}"
            )


class Supervisor:
    """The children of one instance. The first that is given up is handed to `give_up`, once."""

    def __init__(self, guardian: Guardian, give_up: Callable[[BaseException], None]) -> None:
        self._guardian, self._give_up = guardian, give_up
        self._tasks = TaskGroup("up", on_error=give_up)
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: dict[int, tuple[str, Process]] = {}

    def start(self, child: Child) -> None:
        """Keep this child alive from now on."""
        self._keepers[child.name] = self._tasks.start(self._keep(child), child.name)

    def adopt(self, process: Process, name: str, stage: int) -> None:
        """A process was started for the child of that name: it must not outlive us."""
        self._guardian.watch(process.pid, stage)
        self._running[process.pid] = (name, process)
        self._tasks.start(self._release(process), f"{name}:wait")

    async def stop(self, names: tuple[str, ...], patience: float) -> None:
        """SIGTERM these children, side by side, and SIGKILL those that take longer than `patience` seconds."""
        await asyncio.gather(*(self._stop(name, patience) for name in names))

    def kill(self) -> None:
        """SIGKILL everything, at once."""
        for _, process in self._running.values():
            _send(process, signal.SIGKILL)

    async def close(self) -> None:
        """Forget the children, all of which were stopped."""
        await self._tasks.cancel()

    async def _keep(self, child: Child) -> None:
        try:
            await child.keep()
        except CommandError as error:
            self._give_up(error)

    async def _stop(self, name: str, patience: float) -> None:
        if keeper := self._keepers.pop(name, None):
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        for process in [process for owner, process in self._running.values() if owner == name]:
            await end(process, patience)

    async def _release(self, process: Process) -> None:
        await process.wait()
        self._running.pop(process.pid, None)
        self._guardian.release(process.pid)


async def end(process: Process, patience: float) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds; returns when the process has ended."""
    _send(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        log.warning("child did not stop in time; killing it", pid=process.pid)
        _send(process, signal.SIGKILL)
        await process.wait()


def describe(status: int | None) -> str:
    """An exit status as people say it: `exit 1`, `SIGKILL`."""
    if status is None:
        return "did not start"
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit {status}"


def _send(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
