"""How far a stream is recorded, and who may record on: pure. Counterpart: seat.py keeps it in the bucket `recorder`.

One writer at a time claims the messages behind `stored` up to `claimed`, inserts them, and settles. Every move is
written with compare-and-set, so that of two writers one moves and the other learns that it is deposed:

    free ──take──► idle ──claim──► claimed ──settle──► idle        any ──take──► the same, with another writer
                    │                 └──doubt──► claimed, carefully
                    └──release──► free

A claim that is not settled is inserted again by whoever takes over, under the same tokens
(docs/adr/0003-exactly-once.md).
"""

from dataclasses import dataclass, replace

from pydantic import TypeAdapter


class IllegalMove(Exception):
    """A move that the state does not allow: a fault in the writer, never in what it reads."""


@dataclass(frozen=True)
class Position:
    """The entry of one stream. Sequences are the stream's; all up to `stored` are in ClickHouse."""

    #: Who holds the seat; empty when nobody does.
    writer: str = ""
    #: The stream's incarnation (resume.py); 0 until that is known.
    epoch: int = 0
    stored: int = 0
    #: Last sequence of the range being inserted; equal to `stored` when none is.
    claimed: int = 0
    #: Up to here rows may be in ClickHouse under other tokens: look before inserting.
    careful_until: int = 0
    #: Counts the moves, so that every value ever written differs from all others.
    serial: int = 0

    @property
    def open(self) -> bool:
        """True while a range is claimed and not settled."""
        return self.claimed > self.stored

    @property
    def careful(self) -> bool:
        """True when the next range must be compared with what is there."""
        return self.stored < self.careful_until

    def take(self, writer: str) -> "Position":
        """Another writer (or the same again) holds the seat; what was claimed stays claimed."""
        return replace(self, writer=writer, serial=self.serial + 1)

    def renew(self) -> "Position":
        """Still here."""
        return replace(self, serial=self.serial + 1)

    def release(self) -> "Position":
        """Nobody holds the seat."""
        return replace(self, writer="", serial=self.serial + 1)

    def claim(self, last: int) -> "Position":
        """Begin to insert what is behind `stored`, up to `last`. Raises IllegalMove."""
        if self.open:
            raise IllegalMove(f"{self.stored + 1} to {self.claimed} is still claimed")
        if last <= self.stored:
            raise IllegalMove(f"{last} is stored already")
        return replace(self, claimed=last, serial=self.serial + 1)

    def doubt(self) -> "Position":
        """Parts of the claimed range may have been inserted otherwise than as a whole. Raises IllegalMove."""
        if not self.open:
            raise IllegalMove("nothing is claimed")
        return replace(self, careful_until=max(self.careful_until, self.claimed), serial=self.serial + 1)

    def settle(self) -> "Position":
        """All of the claimed range is in ClickHouse. Raises IllegalMove."""
        if not self.open:
            raise IllegalMove("nothing is claimed")
        return replace(self, stored=self.claimed, serial=self.serial + 1)

    def resume(self, epoch: int, stored: int, careful_until: int) -> "Position":
        """Go on from another place than the entry says; a claim is dropped."""
        return replace(
            self, epoch=epoch, stored=stored, claimed=stored, careful_until=careful_until, serial=self.serial + 1
        )

    def token(self, stream: str) -> str:
        """What names the claimed range, for ClickHouse's deduplication: the same for whoever inserts it.

        A careful range is compared with what is there instead, and may hold other rows each time: its tokens must
        not repeat, or ClickHouse would drop rows that are not there.
        """
        name = f"{stream}:{self.epoch}:{self.stored}-{self.claimed}"
        return f"{name}:careful-{self.serial}" if self.careful else name


_ADAPTER = TypeAdapter(Position)


def encode(position: Position) -> bytes:
    """The entry's bytes: JSON."""
    return _ADAPTER.dump_json(position)


def decode(data: bytes) -> Position:
    """An entry. Raises ValueError (pydantic's ValidationError) when it is not one."""
    return _ADAPTER.validate_json(data)


@dataclass
class Watch:
    """A standby's view of the holder: alive as long as the entry changes, by the standby's own clock."""

    lease: float
    _revision: int = -1
    _since: float = 0.0

    def vacant(self, revision: int, position: Position, now: float) -> bool:
        """Whether the seat may be taken; `now` in seconds of a monotonic clock."""
        if revision != self._revision:
            self._revision, self._since = revision, now
        return not position.writer or now - self._since >= self.lease
