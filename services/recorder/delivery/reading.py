"""What a receiver gets next: operations in the order of their outcomes in the stream, up to what is stored for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.recorder.clickhouse import Store
from services.recorder.delivery.place import Place
from services.recorder.ocsf import ROWS
from services.recorder.rows import started_at

_FINISHED: Final = """
SELECT epoch, stream_seq, operation_id, toUnixTimestamp64Micro(published_at) AS published_us
FROM events
WHERE stream = 'AUDIT' AND type = 'OperationFinished'
  AND epoch >= {epoch:UInt64} AND (epoch > {epoch:UInt64} OR stream_seq > {seq:UInt64})
  AND epoch <= {last_epoch:UInt64} AND (epoch < {last_epoch:UInt64} OR stream_seq <= {last_seq:UInt64})
ORDER BY epoch, stream_seq LIMIT {limit:UInt32}
"""
_OPERATIONS: Final = ROWS.format(also="AND operation_id IN {operations:Array(String)}")


@dataclass(frozen=True)
class Batch:
    """Rows for `messages.message`, and where the receiver is once it has taken them."""

    rows: Sequence[dict[str, Any]]
    first: Place
    last: Place
    #: When the first of them was published: microseconds since 1970.
    published_us: int


async def behind(store: Store, place: Place, stored: Place, limit: int) -> Batch | None:
    """What comes next, or None when there is nothing. Raises StoreError."""
    found = await store.query(
        _FINISHED,
        {
            "epoch": place.epoch,
            "seq": place.seq,
            "last_epoch": stored.epoch,
            "last_seq": stored.seq,
            "limit": limit,
        },
    )
    if not found:
        return None
    names = list(dict.fromkeys(row["operation_id"] for row in found))
    moments = [started_at(name) for name in names]
    rows = await store.query(
        _OPERATIONS, {"since": _clickhouse(min(moments)), "until": _clickhouse(max(moments) + 1), "operations": names}
    )
    order = {name: number for number, name in enumerate(names)}
    ends = [Place(int(row["epoch"]), int(row["stream_seq"])) for row in (found[0], found[-1])]
    ordered = sorted(rows, key=lambda row: order[row["operation_id"]])
    return Batch(ordered, ends[0], ends[1], int(found[0]["published_us"]))


def _clickhouse(milliseconds: int) -> str:
    """A DateTime64(3) as a parameter's text: seconds since 1970, with its fraction."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"
