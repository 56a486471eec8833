"""Applies the policy file again whenever it changes. A version that is wrong is refused; the one in force stays."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from countersign.errors import CommandError

log = structlog.get_logger(__name__)

#: Between two looks at the file: quick enough for a person who saves and tries.
INTERVAL = 0.5

#: Applies a file and returns the version now in force. Raises CommandError with line and column.
Apply = Callable[[Path], Coroutine[Any, Any, str]]


class BusAway(CommandError):
    """The policy may be right, but the bus does not answer: worth another attempt."""


async def keep_applied(file: Path, apply: Apply, applied: "Seen") -> None:
    """For ever: apply the file when it is no longer what was seen when it was applied last."""
    while True:
        await asyncio.sleep(INTERVAL)
        now = seen(file)
        if now is None or now == applied:
            continue
        try:
            log.info("policy applied", file=str(file), version=await apply(file))
        except BusAway as error:
            log.warning("policy not applied yet", error=str(error))
            continue
        except CommandError as error:
            log.error("policy refused; the one in force stays", error=str(error))
        applied = now


#: What tells one content of a file from the next: inode (editors replace files), time and size.
Seen = tuple[int, int, int] | None


def seen(file: Path) -> Seen:
    """The file as it is now; None while it is away, which editors do for a moment."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
