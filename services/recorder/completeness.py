"""What ingresses counted against what is recorded: a lost event leaves a hole in `ingress_seq`.

Counterpart: every ingress numbers its events from 1 without a gap, over both streams. Events overtake each other on
their way, so only numbers below one that was stored a while ago are expected to be there. An attempt that the log did
not take, because it was full or away, is no lost event: nothing was forwarded, and its outcome names its number.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from services.recorder.clickhouse import Store
from services.recorder.metrics import Metrics
from services.recorder.store_errors import StoreError

log = structlog.get_logger(__name__)

#: Seconds between two counts: each reads two columns of all events.
_INTERVAL: Final = 300.0

#: Seconds after which nothing overtakes any more: an ingress gives up on an unacked event long before.
SETTLED: Final = 120

_HOLES: Final = """
WITH (SELECT max(before) FROM retentions) + toIntervalSecond({settled:UInt32}) AS cut, numbered AS (
    SELECT ingress, ingress_seq, published_at FROM events WHERE ingress_seq > 0
    UNION ALL
    SELECT ingress, ingress_seq, published_at FROM session_frames WHERE ingress_seq > 0
    UNION ALL  -- the ack alone may have been lost: a number that is there twice counts once
    SELECT ingress, toUInt64(JSONExtractUInt(attributes, 'unjudged_seq')), published_at
    FROM outcomes WHERE attributes LIKE '%"unjudged_seq"%'
)
SELECT sum(missing) AS missing FROM (
    -- Of each ingress by itself: what one has twice makes up for nothing that another lost.
    SELECT toInt64(groupBitmapIf(ingress_seq, ingress_seq > floor AND ingress_seq <= expected)) AS there,
           greatest(0, toInt64(any(expected)) - toInt64(any(floor)) - there) AS missing
    FROM numbered
    INNER JOIN (
        -- Where old events were dropped, numbers were overtaken by others at the cut: counting begins where that ended.
        SELECT ingress, maxIf(ingress_seq, published_at < now() - {settled:UInt32}) AS expected,
               if((SELECT count() FROM retentions) = 0, 0,
                  greatest(maxIf(ingress_seq, published_at < cut), minIf(ingress_seq, published_at >= cut))) AS floor
        FROM numbered GROUP BY ingress
    ) AS ends USING (ingress)
    GROUP BY ingress
)
"""


async def missing_events(store: Store, settled: int = SETTLED) -> int:
    """Numbers without an event, over all ingresses on record. Raises StoreError."""
    rows = await store.query(_HOLES, {"settled": settled})
    return max(0, int(rows[0]["missing"])) if rows else 0


async def keep_counted(
    store: Store, writing: Callable[[], bool], metrics: Metrics, interval: float = _INTERVAL
) -> None:
    """Count again and again while this copy writes."""
    while True:
        await asyncio.sleep(interval)
        if not writing():
            continue
        try:
            missing = await missing_events(store)
        except StoreError as error:
            log.debug("not counted", error=str(error))
            continue
        metrics.ingress_gaps.set(missing)
        if missing:
            log.error("events that ingresses counted are not on record", missing=missing)
