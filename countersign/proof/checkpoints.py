"""The checkpoints that a log must agree with: those stored with it, those kept elsewhere, and notes on expired events.

They come in the order of their sizes, a page at a time: a year of sealing is millions of them.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from countersign.proof.findings import Finding, LogReport, Report
from countersign.record import Record, rows
from services.recorder.proof.note import BadNote, Checkpoint, VerifierKey, expired_origin, verify

#: Checkpoints in one answer: some 30 MiB.
PAGE: Final = 50_000

#: What is stored twice is one; `facts` tells where the page before ended.
_PAGE: Final = """
SELECT DISTINCT tree_size, note, origin, root, signature, epoch, stream_seq,
       hex(SHA256(concat(note, '\0', origin, '\0', root, '\0', signature))) AS facts
FROM checkpoints
WHERE stream = {stream:String} AND tree_size >= {size:UInt64}
  AND (tree_size, facts, epoch, stream_seq) > ({size:UInt64}, {facts:String}, {epoch:UInt64}, {seq:UInt64})
ORDER BY tree_size, facts, epoch, stream_seq LIMIT {page:UInt32}
"""
_RETENTIONS: Final = "SELECT DISTINCT leaves, note FROM retentions WHERE stream = {stream:String} ORDER BY leaves"


@dataclass(frozen=True)
class Known:
    """A checkpoint to compare with, and where it came from."""

    checkpoint: Checkpoint
    place: str

    @property
    def size(self) -> int:
        """Leaves under it."""
        return self.checkpoint.size


@dataclass
class Checkpoints:
    """One stream's, of all kinds; what is not signed goes into the report on the way."""

    record: Record
    stream: str
    key: VerifierKey
    report: Report
    log: LogReport
    #: Sizes of those stored here.
    here: set[int] = field(default_factory=set)
    #: Where the largest one stored here says that it ends, which nobody signed.
    end: tuple[int, int] = (0, 0)

    def all(self, against: Sequence[str]) -> Iterator[Known]:
        """Every one that is signed, by size; afterwards, those from elsewhere must be here. Raises CommandError."""
        elsewhere = self._elsewhere(against)
        yield from heapq.merge(self._stored(), self._expired(), elsewhere, key=lambda one: one.size)
        for one in elsewhere:
            if one.size not in self.here:  # each was stored here before it was given away
                self.report.add(Finding("checkpoint", "checkpoints", f"{one.place} is gone here"))

    def _stored(self) -> Iterator[Known]:
        after = {"size": "0", "facts": "", "epoch": "0", "seq": "0"}
        while True:
            page = rows(self.record, _PAGE, {"stream": self.stream, "page": str(PAGE), **after})
            for row in page:
                if known := self._signed(row):
                    yield known
            if len(page) < PAGE:
                return
            names = {"size": "tree_size", "facts": "facts", "epoch": "epoch", "seq": "stream_seq"}
            after = {name: str(page[-1][column]) for name, column in names.items()}

    def _signed(self, row: dict[str, Any]) -> Known | None:
        size = int(row["tree_size"])
        where = f"the checkpoint of {size} events"
        try:
            checkpoint = verify(row["note"], self.key)
        except BadNote as error:
            self.report.add(Finding("checkpoint", "checkpoints", f"{where}: {error}"))
            return None
        signature = row["note"].rstrip("\n").rpartition(" ")[2]
        told = (size, row["root"], row["origin"], row["signature"])
        if told != (checkpoint.size, checkpoint.root.hex(), checkpoint.origin, signature):
            self.report.add(Finding("checkpoint", "checkpoints", f"{where}: its columns are not what was signed"))
            return None
        self.log.checkpoints += 1
        self.here.add(size)
        if size >= self.log.sealed:
            self.log.sealed, self.end = size, (int(row["epoch"]), int(row["stream_seq"]))
        return Known(checkpoint, where)

    def _expired(self) -> list[Known]:
        """How many leaves the recorder says it dropped the rows of; their root is compared with the others."""
        found = []
        for row in rows(self.record, _RETENTIONS, {"stream": self.stream}):
            try:
                checkpoint = verify(row["note"], VerifierKey(expired_origin(self.key.name), self.key.public))
            except BadNote as error:
                self.report.add(Finding("checkpoint", "retentions", str(error)))
                continue
            found.append(Known(checkpoint, f"the note about {checkpoint.size} expired events"))
            self.log.dropped = max(self.log.dropped, checkpoint.size)
        return sorted(found, key=lambda one: one.size)

    def _elsewhere(self, against: Sequence[str]) -> list[Known]:
        found = []
        for note in against:
            try:
                checkpoint = verify(note, self.key)
            except BadNote as error:
                self.report.add(Finding("checkpoint", "elsewhere", str(error)))
                continue
            self.report.against += 1
            found.append(Known(checkpoint, f"the checkpoint of {checkpoint.size} events from elsewhere"))
        return sorted(found, key=lambda one: one.size)
