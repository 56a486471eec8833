"""Where to go on when a writer takes the seat: compares the entry, the stream and ClickHouse. Pure.

They agree, except after a disaster: the bucket was lost, the database was lost or restored from a backup, the stream
was made anew (its sequences start at 1 again) or restored from a backup (they go back). In doubt everything that may be
missing is read again and compared, event by event, with what is there: nothing is lost, and nothing is there twice.

`epoch` tells the incarnations of a stream apart: its creation in microseconds since 1970, or, when it went back in
time, the moment that this was noticed.
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
    """The newest epoch that ClickHouse holds of a stream (0: none), and the last sequence in it."""

    epoch: int = 0
    last: int = 0


@dataclass(frozen=True)
class Decision:
    """Where to go on; `why` is empty when everything agrees."""

    position: Position
    why: str = ""


def resume(position: Position, stream: StreamState, recorded: Recorded, now: int) -> Decision:
    """Where to go on from; `now` in microseconds since 1970."""
    known = max(position.epoch, recorded.epoch)
    last_known = max(
        position.stored if position.epoch == known else 0, recorded.last if recorded.epoch == known else 0
    )
    if known == 0:
        return Decision(position.resume(epoch=stream.created, stored=0, careful_until=0))
    if known < stream.created:
        return _anew(position, stream, stream.created, "the stream was made anew")
    if last_known > stream.last:
        why = f"the stream went back from {last_known} to {stream.last}"
        return _anew(position, stream, max(now, known + 1), why)
    if position.epoch < known:
        return _from_database(position, stream, recorded, "the position was lost")
    return _compare(position, stream, recorded)


def _compare(position: Position, stream: StreamState, recorded: Recorded) -> Decision:
    """The entry is of the stream's present incarnation."""
    in_database = recorded.last if recorded.epoch == position.epoch else 0
    if in_database > position.claimed:
        return _from_database(position, stream, recorded, "the position is older than the database")
    if in_database < position.stored:
        again = position.resume(epoch=position.epoch, stored=in_database, careful_until=stream.last)
        return Decision(again, f"the database ends at {in_database}, but {position.stored} was stored")
    return Decision(position)


def _from_database(position: Position, stream: StreamState, recorded: Recorded, why: str) -> Decision:
    # A batch may have reached some tables and not yet the last one, which `recorded` speaks of: hence carefully.
    return Decision(position.resume(epoch=recorded.epoch, stored=recorded.last, careful_until=stream.last), why)


def _anew(position: Position, stream: StreamState, epoch: int, why: str) -> Decision:
    return Decision(position.resume(epoch=epoch, stored=0, careful_until=stream.last), why)
