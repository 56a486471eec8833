"""One instance per data directory: an advisory lock (flock) on a file that names its holder.

The kernel drops the lock when the last process that has the file open ends: no stale lock survives a crash.
"""

import fcntl
import os
import time
from pathlib import Path

from countersign.errors import CommandError
from countersign.guardian import GRACE

LOCK_FILE = "up.lock"
#: A killed instance's guardian holds the lock until the children have ended, service stage and NATS stage.
PATIENCE = 2 * GRACE + 5


class Lock:
    """Held from construction until `release` or the process's end."""

    def __init__(self, root: Path) -> None:
        """Raises CommandError when another instance runs in this directory."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (root / LOCK_FILE).open("a+")
        self._acquire(root)
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    @property
    def descriptor(self) -> int:
        """The open file, to be inherited by whoever must keep the lock after us."""
        return self._file.fileno()

    def release(self) -> None:
        """Let the next instance in."""
        self._file.close()

    def _acquire(self, root: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._try():
            holder = self._holder()
            if (holder is not None and _alive(holder)) or time.monotonic() > deadline:
                who = f"process {holder}" if holder else "unknown process"
                raise CommandError(
                    f"{root}: another `countersign up` runs here ({who}); stop it, or use another --data"
                )
            time.sleep(0.1)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> int | None:
        self._file.seek(0)
        text = self._file.read().strip()
        return int(text) if text.isdigit() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
