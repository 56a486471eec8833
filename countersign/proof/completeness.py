"""What is missing from the record, by name: numbers that an ingress counted, sequences that a stream gave out.

An ingress numbers its events from 1 without a gap, over both streams; a number that is not there is an event lost on
the way (services/recorder/completeness.py has the same as a metric), unless an outcome names it as that of an attempt
the log never took. JetStream numbers a stream's messages without a gap too; a sequence that is not there was removed
before it was recorded. A stream that came back from a backup is read again and compared event by event, so an epoch
after the first may begin anywhere (docs/adr/0003-exactly-once.md).

What lies below the cut where old events were dropped is unknown. Sequences are cut where the log's note says. Numbers
were overtaken by others there, for as long as events overtake each other: they count from where that has ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from countersign.record import Record, each_row, rows

#: Numbers looked at one by one where one of them is missing.
_WIDTH: Final = 100_000
#: Gaps that are named, of each kind.
_LISTED: Final = 500

_NUMBERED: Final = """
SELECT ingress, ingress_seq AS number, published_at FROM events WHERE ingress_seq > 0
UNION ALL
SELECT ingress, ingress_seq, published_at FROM session_frames WHERE ingress_seq > 0
UNION ALL
SELECT ingress, toUInt64(JSONExtractUInt(attributes, 'unjudged_seq')), published_at
FROM outcomes WHERE attributes LIKE '%"unjudged_seq"%'
"""
#: `settled`: numbers below one that was stored a while ago are there; events overtake each other, but not for long.
_INGRESSES: Final = f"""
WITH (SELECT max(before) FROM retentions) + INTERVAL 120 SECOND AS cut
SELECT ingress AS counter, intDiv(number, {_WIDTH}) AS place, min(number) AS first, max(number) AS last,
       groupBitmap(number) AS n, maxIf(number, published_at < now() - 120) AS settled,
       maxIf(number, published_at < cut) AS near, minIf(number, published_at >= cut) AS beyond
FROM ({_NUMBERED}) GROUP BY counter, place ORDER BY counter, place
"""  # noqa: S608 - our own text
_NUMBERS: Final = f"""
SELECT DISTINCT number FROM ({_NUMBERED})
WHERE ingress = {{counter:String}} AND number >= {{first:UInt64}} AND number <= {{last:UInt64}} ORDER BY number
"""  # noqa: S608 - our own text
_SEQUENCED: Final = """
SELECT stream, epoch, stream_seq AS number FROM events
UNION ALL SELECT stream, epoch, stream_seq FROM session_frames
UNION ALL SELECT stream, epoch, stream_seq FROM dead_letters
"""
#: The last message of each stream that was dropped.
_CUTS: Final = """
SELECT stream, max((epoch, stream_seq)) AS cut FROM leaves
WHERE (stream, leaf) IN (SELECT stream, max(leaves) - 1 FROM retentions GROUP BY stream) GROUP BY stream
"""
_STREAMS: Final = f"""
SELECT stream, epoch, intDiv(number, {_WIDTH}) AS place, min(number) AS first, max(number) AS last,
       groupBitmap(number) AS n
FROM ({_SEQUENCED}) WHERE stream = {{stream:String}} AND (epoch, number) > ({{epoch:UInt64}}, {{seq:UInt64}})
GROUP BY stream, epoch, place ORDER BY epoch, place
"""  # noqa: S608 - our own text
_SEQUENCES: Final = f"""
SELECT DISTINCT number FROM ({_SEQUENCED}) WHERE stream = {{stream:String}} AND epoch = {{epoch:UInt64}}
  AND number >= {{first:UInt64}} AND number <= {{last:UInt64}} ORDER BY number
"""  # noqa: S608 - our own text


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
    for kind in (_of_ingresses, _of_streams):
        for found, gap in enumerate(kind(record)):
            if found == _LISTED:
                break
            yield gap


def _of_ingresses(record: Record) -> Iterator[Gap]:
    places: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in each_row(record, _INGRESSES):
        places[row["counter"]].append(row)
    for ingress, some in places.items():
        beyond = [int(row["beyond"]) for row in some if int(row["beyond"])]
        near = max(int(row["near"]) for row in some)
        floor = max(near, min(beyond, default=0)) if _retained(record) else 0
        settled = max(int(row["settled"]) for row in some)
        for first, last in _missing(record, _NUMBERS, {"counter": ingress}, some, floor):
            if last < settled:
                yield Gap(f"ingress {ingress}", first, last)


def _of_streams(record: Record) -> Iterator[Gap]:
    cuts = {row["stream"]: (int(row["cut"][0]), int(row["cut"][1])) for row in rows(record, _CUTS)}
    for stream in ("AUDIT", "RECORDING"):
        epoch_cut, seq_cut = cuts.get(stream, (0, 0))
        where = {"stream": stream, "epoch": str(epoch_cut), "seq": str(seq_cut)}
        places: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in each_row(record, _STREAMS, where):
            places[int(row["epoch"])].append(row)
        for number, (epoch, some) in enumerate(places.items()):
            begins = seq_cut if epoch == epoch_cut else 0 if stream not in cuts and not number else None
            floor = int(some[0]["first"]) if begins is None else begins
            here = {"stream": stream, "epoch": str(epoch)}
            for first, last in _missing(record, _SEQUENCES, here, some, floor):
                yield Gap(f"stream {stream}, epoch {epoch}", first, last)


def _retained(record: Record) -> bool:
    (row,) = rows(record, "SELECT count() AS n FROM retentions")
    return bool(int(row["n"]))


def _missing(
    record: Record, sql: str, where: dict[str, str], places: Iterable[dict[str, Any]], floor: int
) -> Iterator[tuple[int, int]]:
    """First and last of each gap above `floor`: by the counts of whole places, and number by number in the others."""
    before = floor
    for place in places:
        first, last = int(place["first"]), int(place["last"])
        if int(place["n"]) == last - first + 1:
            runs: Iterable[tuple[int, int]] = [(first, last)]
        else:
            asked = where | {"first": str(first), "last": str(last)}
            runs = ((int(row["number"]), int(row["number"])) for row in each_row(record, sql, asked))
        for begin, end in runs:
            if begin > before + 1:
                yield before + 1, begin - 1
            before = max(before, end)
