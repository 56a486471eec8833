"""Where to go on when a writer takes the seat: compares the entry, the stream and ClickHouse. Pure.

They agree, except after a disaster: the bucket was lost, the database was lost or restored from a backup, the stream
was made anew (its sequences start at 1 again) or restored from a backup (they go back). In doubt everything that may be
missing is read again and compared, event by event, with what is there: nothing is lost, and nothing is there twice.

`epoch` tells the incarnations of a stream apart: its creation in microseconds since 1970, or, when it went back in
time, the moment that this was noticed. The database is believed least: an epoch that only it knows, while entry and
stream agree, was written there by somebody else, or by us before NATS came back from a backup. Nothing goes on under
it; a new epoch begins, and all of the stream is compared with what is there.
"""

from dataclasses import dataclass

from services.recorder.position import Position


@dataclass(frozen=True)
class StreamState:
    """What JetStream says: creation in microseconds since 1970, and the last sequence it gave out."""

    created: int
    last: int


@dataclass(frozen=True)
class Recorded:
    """The newest epoch that ClickHouse holds of a stream (0: none), and the last sequences in it.

    Dead letters are written first and the raw events last: up to `events` every table is complete.
    """

    epoch: int = 0
    events: int = 0
    dead_letters: int = 0

    @property
    def last(self) -> int:
        """The last sequence there is anything of."""
        return max(self.events, self.dead_letters)


@dataclass(frozen=True)
class Place:
    """Where to go on instead of where the entry says; `why` is empty at the very first start."""

    epoch: int
    stored: int
    careful_until: int
    why: str = ""


def resume(position: Position, stream: StreamState, recorded: Recorded, now: int) -> Place | None:
    """Where to go on, or None where the entry says; `now` in microseconds since 1970."""
    if recorded.epoch > now or stream.created <= position.epoch < recorded.epoch:
        why = f"the database has epoch {recorded.epoch}, which nobody began"
        return Place(now, 0, stream.last, why)
    known = max(position.epoch, recorded.epoch)
    if known == 0:
        return Place(stream.created, stored=0, careful_until=0)
    if known < stream.created:
        return Place(stream.created, 0, stream.last, "the stream was made anew")
    if (last := _last_known(position, recorded, known)) > stream.last:
        why = f"the stream went back from {last} to {stream.last}"
        return Place(max(now, known + 1), 0, stream.last, why)
    if position.epoch < known:
        return _from_database(recorded, stream, "the position was lost")
    in_database = recorded.last if recorded.epoch == known else 0
    if in_database > position.claimed:
        return _from_database(recorded, stream, "the position is older than the database")
    if in_database < position.stored:
        why = f"the database ends at {in_database}, but {position.stored} was stored"
        return Place(known, recorded.events if recorded.epoch == known else 0, stream.last, why)
    return None


def _last_known(position: Position, recorded: Recorded, epoch: int) -> int:
    stored = position.stored if position.epoch == epoch else 0
    return max(stored, recorded.last if recorded.epoch == epoch else 0)


def _from_database(recorded: Recorded, stream: StreamState, why: str) -> Place:
    return Place(recorded.epoch, recorded.events, stream.last, why)
