"""What a verification finds, and how it is told. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

#: Findings that are listed; all are counted. Whoever needs more has a database to restore, not rows to look at.
LISTED: Final = 200


class Finding(NamedTuple):
    """One thing that is not as it was sealed. Fields that do not apply are empty."""

    #: changed, missing, added, duplicated, unreadable, checkpoint, truncated, tree.
    what: str
    table: str
    detail: str
    stream_seq: int = 0
    event_id: str = ""

    def __str__(self) -> str:
        where = " ".join(
            part
            for part in (self.table, f"stream_seq {self.stream_seq}" if self.stream_seq else "", self.event_id)
            if part
        )
        return f"{self.what}: {where}: {self.detail}"


def counted(number: int, what: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass
class LogReport:
    """One stream's log."""

    stream: str
    origin: str = ""
    leaves: int = 0
    checkpoints: int = 0
    #: Leaves under the last checkpoint.
    sealed: int = 0
    #: Stored messages that no checkpoint covers yet.
    unsealed: int = 0
    #: Leaves whose rows were dropped because they were old, by the recorder's signed word.
    expired: int = 0
    #: Leaves at the log's beginning that this word is about.
    dropped: int = 0
    #: Epoch and sequence of the last of them.
    dropped_to: tuple[int, int] = (0, 0)


@dataclass
class Report:
    """The whole of it."""

    logs: list[LogReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    #: Events whose typed rows were compared, and those whose content is erased or in a dead letter.
    compared: int = 0
    erased_sessions: int = 0
    #: Checkpoints from elsewhere that today's log extends.
    against: int = 0

    def add(self, finding: Finding) -> None:
        """Count it, and list it while there is room."""
        self.found += 1
        if len(self.findings) < LISTED:
            self.findings.append(finding)

    def dropped_to(self, stream: str) -> tuple[int, int]:
        """Epoch and sequence up to which a stream's rows may be gone: its log was verified before."""
        return max((log.dropped_to for log in self.logs if log.stream == stream), default=(0, 0))

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.found

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "logs": [vars(log) for log in self.logs],
            "events_compared": self.compared,
            "erased_sessions": self.erased_sessions,
            "against": self.against,
            "found": self.found,
            "findings": [finding._asdict() for finding in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        for log in self.logs:
            tail = f", {log.unsealed} stored since then are not sealed yet" if log.unsealed else ""
            signed = counted(log.checkpoints, "checkpoint")
            old = f", {log.expired} of them dropped under the retention setting" if log.expired else ""
            yield f"{log.origin or log.stream}: {counted(log.sealed, 'event')} under {signed}{old}{tail}"
        if self.against:
            yield f"compared with {counted(self.against, 'checkpoint')} from elsewhere"
        if self.erased_sessions:
            yield f"{counted(self.erased_sessions, 'erased session')}: the hashes hold"
        for finding in self.findings:
            yield str(finding)
        if self.found > len(self.findings):
            yield f"and {self.found - len(self.findings)} more"
        verdict = "all is well" if self.ok else counted(self.found, "finding")
        yield f"{counted(self.compared, 'event')} compared with their tables: {verdict}"
