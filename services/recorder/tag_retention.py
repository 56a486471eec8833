"""Erase the content of sessions whose connectors' tags say how long it is kept: `audit.retention_by_tag`.

A session's content is kept as long as the one of its operations that is kept longest: an operation for the shortest of
the times that its connector's tags name, or for ever where they name none. Who did what, and when, stays; the words go,
by an erasure like any other (erasing.py), which is on record before a key is deleted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from schemas import subjects
from schemas.events import ContentErased
from services.recorder.clickhouse import Store
from services.recorder.store_errors import StoreError

log = structlog.get_logger(__name__)

#: Who is named in the erasure.
BY: Final = "audit.retention_by_tag"
#: Seconds between two rounds, and sessions in one question.
_INTERVAL: Final = 3600.0
AT_ONCE: Final = 1000
#: Seconds before the next round where one was full: what it found is in `erasures` by then, and the rest comes up.
_SOON: Final = 10.0
#: Microseconds that no session reaches: for ever.
_FOR_EVER: Final = 2**61
#: `tags` has a value or ''; a rule that does not fit counts for nothing.
_DUE: Final = """
SELECT session_id, max(toUnixTimestamp64Micro(published_at) + kept) AS until
FROM (
    SELECT session_id, published_at,
           arrayFilter(x -> x > 0, arrayMap((tag, value, length) -> if(tags[tag] = value, length, 0),
                       {{names:Array(String)}}, {{values:Array(String)}}, {{lengths:Array(Int64)}})) AS lengths,
           if(empty(lengths), {for_ever}, arrayMin(lengths)) AS kept
    FROM attempts
    WHERE session_id IN (SELECT session_id FROM session_keys) AND session_id NOT IN (SELECT session_id FROM erasures)
)
GROUP BY session_id HAVING until < {{now:Int64}} ORDER BY until LIMIT {at_once}
"""


class TagRetention:
    """Finds what is due and says on the bus that it goes."""

    def __init__(self, store: Store, jetstream: JetStreamContext, kept: Mapping[str, float]) -> None:
        """`kept`: `tag=value` to seconds."""
        self._store = store
        self._jetstream = jetstream
        pairs = [(*rule.split("=", 1), int(length * 1_000_000)) for rule, length in kept.items()]
        self._parameters = {
            "names": [name for name, _, _ in pairs],
            "values": [value for _, value, _ in pairs],
            "lengths": [length for _, _, length in pairs],
        }

    async def run(self, writing: Callable[[], bool], interval: float = _INTERVAL) -> None:
        """Round after round while this copy writes the audit stream."""
        while True:
            due = 0
            if writing():
                try:
                    due = await self.erase(time.time())
                except (StoreError, NatsError, OSError) as error:
                    log.error("old content is not erased yet", error=str(error) or type(error).__name__)
            await asyncio.sleep(interval if due < AT_ONCE else _SOON)

    async def erase(self, now: float) -> int:
        """One round; `now` in seconds since 1970. Answers how many sessions. Raises StoreError, NatsError, OSError."""
        sql = _DUE.format(for_ever=_FOR_EVER, at_once=AT_ONCE)
        due = await self._store.query(sql, self._parameters | {"now": int(now * 1_000_000)})
        for row in due:
            await self._publish(row["session_id"])
        if due:
            log.warning("old content is to be erased", sessions=len(due))
        return len(due)

    async def _publish(self, session_id: str) -> None:
        """Always the same event for a session, so that a round that was cut off may be repeated."""
        event = ContentErased(
            event_id=str(uuid5(NAMESPACE_OID, f"countersign:retention:{session_id}")),
            ingress="",
            session_id=session_id,
            by=BY,
            reason="it was kept as long as its connectors' tags say",
        )
        await self._jetstream.publish(
            subjects.of(event),
            event.model_dump_json().encode(),
            headers={"Nats-Msg-Id": event.event_id},
            stream=subjects.AUDIT_STREAM,
        )
