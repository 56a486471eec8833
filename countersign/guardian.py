"""Ends the children of a supervisor that was killed: a process of its own that listens on a pipe.

The supervisor holds the pipe's other end, and tells each child's pid and stage. When the pipe ends, the supervisor is
gone: whatever is still registered gets SIGTERM, and SIGKILL after a while, the highest stage first (services before
the NATS they drain into). It works for children that know nothing of it (nats-server), on any POSIX system.

It also inherits the data directory's lock, so that nobody starts on that directory before it is done.
The file runs as a script with the standard library alone (`python -I -S guardian.py FD`); `Guardian` is its counterpart
in the supervisor.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

#: How long a stage may take to end by itself once its supervisor is gone.
GRACE = 5.0


class Guardian:
    """The supervisor's side: starts the script and tells it which processes to watch over."""

    def __init__(self, inherited: tuple[int, ...] = ()) -> None:
        """`inherited` descriptors stay open in the guardian for as long as it lives."""
        reading, self._writing = os.pipe()
        # In a session of its own: a Ctrl-C or a closed terminal must not end it before its children.
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", __file__, str(reading)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(reading, *inherited),
            start_new_session=True,
            env={},
        )
        os.close(reading)

    def watch(self, pid: int, stage: int) -> None:
        """End this process, too, should the supervisor be killed."""
        self._tell(f"watch {pid} {stage}\n")

    def release(self, pid: int) -> None:
        """The process has ended; its number may soon be another's."""
        self._tell(f"release {pid}\n")

    def close(self) -> None:
        """All children are stopped: nothing is left to guard."""
        os.close(self._writing)
        self._process.wait()

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed the guardian; the supervisor goes on without
            os.write(self._writing, line.encode())


def guard(lines: Iterable[str]) -> None:
    """Follow the supervisor's lines until they end, then end what is left."""
    watched: dict[int, int] = {}
    for line in lines:
        verb, pid, *stage = line.split()
        if verb == "watch":
            watched[int(pid)] = int(stage[0])
        else:
            watched.pop(int(pid), None)
    for stage_now in sorted(set(watched.values()), reverse=True):
        _end([pid for pid, stage_of in watched.items() if stage_of == stage_now])


def _end(pids: list[int]) -> None:
    alive = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE
    while (alive := [pid for pid in alive if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in alive:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    """Whether the process was there."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _runs(pid: int) -> bool:
    """Whether it has not ended. Where nobody reaps orphans (a container without an init), it stays as a zombie."""
    with suppress(OSError), open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"  # proc(5): Linux only
    return _signal(pid, 0)


if __name__ == "__main__":
    with open(int(sys.argv[1]), encoding="ascii") as pipe:
        guard(pipe)
