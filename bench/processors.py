"""Processor time of an instance's services, as Linux counts it: steadier than requests a second on a shared machine."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

#: A recorder that takes less than this share of a core has caught up.
IDLE = 0.05
#: Seconds to wait for it at most.
PATIENCE = 60.0

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Services:
    """The children of the one `countersign up` that this process started."""

    pids: dict[str, int]

    @classmethod
    def find(cls) -> "Services":
        """Find them by what they were started as."""
        grandchildren = [pid for child in _children(os.getpid()) for pid in _children(child)]
        return cls({name: pid for pid in grandchildren if (name := _name(pid))})

    def seconds(self) -> dict[str, float]:
        """Processor time of each since it started."""
        return {name: _seconds(pid) for name, pid in self.pids.items()}

    def settle(self) -> None:
        """Wait until the recorder has caught up: it works at a lower priority, and goes on when requests end."""
        until, before = time.monotonic() + PATIENCE, _seconds(self.pids["recorder"])
        while time.monotonic() < until:
            time.sleep(1.0)
            now = _seconds(self.pids["recorder"])
            if now - before < IDLE:
                return
            before = now


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _name(pid: int) -> str:
    """`ingress` for `python -m services.ingress`, `nats` for its server; empty for what is neither."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    module = next((each for each in arguments if each.startswith("services.")), "")
    return module.removeprefix("services.") or ("nats" if arguments[0].endswith("nats-server") else "")


def _seconds(pid: int) -> float:
    """User and system time, with that of threads that have ended (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
