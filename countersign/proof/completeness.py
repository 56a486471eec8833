"""What is missing from the record, by name: numbers that an ingress counted, sequences that a stream gave out.

An ingress numbers its events from 1 without a gap, over both streams; a number that is not there is an event lost on
the way (services/recorder/completeness.py has the same as a metric), unless an outcome names it as that of an attempt
the log never took. JetStream numbers a stream's messages without a gap too; a sequence that is not there was removed
before it was recorded. A stream that came back from a backup is read again and compared event by event, so an epoch
after the first may begin anywhere (docs/adr/0003-exactly-once.md). Where old events were dropped, every counter may
begin late.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from countersign.record import Record, each_row

#: Numbers below one that was stored a while ago: events overtake each other, but not for long.
_NUMBERS: Final = """
SELECT ingress, before + 1 AS first, here - 1 AS last FROM (
    SELECT ingress, ingress_seq AS here,
           lagInFrame(ingress_seq, 1, 0) OVER (
               PARTITION BY ingress ORDER BY ingress_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before,
           max(settled) OVER (
               PARTITION BY ingress ORDER BY ingress_seq ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS old
    FROM (
        SELECT ingress, ingress_seq, published_at < now() - 120 AS settled FROM events WHERE ingress_seq > 0
        UNION ALL
        SELECT ingress, ingress_seq, published_at < now() - 120 FROM session_frames WHERE ingress_seq > 0
        UNION ALL
        SELECT ingress, toUInt64(JSONExtractUInt(attributes, 'unjudged_seq')), published_at < now() - 120
        FROM outcomes WHERE attributes LIKE '%"unjudged_seq"%'
    )
)
WHERE here > before + 1 AND old AND (before > 0 OR (SELECT count() FROM retentions) = 0)
ORDER BY ingress, first LIMIT 500
"""
_SEQUENCES: Final = """
SELECT stream, epoch, before + 1 AS first, here - 1 AS last FROM (
    SELECT stream, epoch, stream_seq AS here,
           lagInFrame(stream_seq, 1, 0) OVER (
               PARTITION BY stream, epoch ORDER BY stream_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before,
           min(epoch) OVER (PARTITION BY stream) AS first_epoch,
           stream IN (SELECT stream FROM retentions) AS expired
    FROM (
        SELECT stream, epoch, stream_seq FROM events
        UNION ALL SELECT stream, epoch, stream_seq FROM session_frames
        UNION ALL SELECT stream, epoch, stream_seq FROM dead_letters
    )
)
WHERE here > before + 1 AND (before > 0 OR (epoch = first_epoch AND NOT expired))
ORDER BY stream, epoch, first LIMIT 500
"""


class Gap(NamedTuple):
    """Numbers `first` to `last` of a counter that are not on record."""

    counter: str
    first: int
    last: int

    def __str__(self) -> str:
        which = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{self.counter}: {which} missing"


def gaps(record: Record) -> Iterator[Gap]:
    """All of them, 500 of each kind at most. Raises CommandError."""
    for row in each_row(record, _NUMBERS):
        yield Gap(f"ingress {row['ingress']}", int(row["first"]), int(row["last"]))
    for row in each_row(record, _SEQUENCES):
        yield Gap(f"stream {row['stream']}, epoch {row['epoch']}", int(row["first"]), int(row["last"]))
