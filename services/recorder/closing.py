"""Close what a dead ingress left open (G6): every attempt ends in one outcome, if need be in `unknown`.

An ingress whose entry in the bucket `ingresses` has been missing for a while is gone; once everything that it can have
published is stored, its attempts without an outcome are closed by publishing one for each. Should the ingress come back
after all, its own outcome overrules ours (view `operations`). Counterpart: services/ingress/liveness.py.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import InvalidKeyError, KeyNotFoundError
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.events import OperationFinished, Outcome
from services.recorder.clickhouse import Store
from services.recorder.metrics import Metrics
from services.recorder.store_errors import StoreUnavailable
from services.recorder.writer import stream_state

log = structlog.get_logger(__name__)

#: Seconds an ingress must be missing, on top of its entry's time to live: time to reconnect after NATS was away.
GRACE: Final = 10.0
#: Seconds between two looks.
_INTERVAL: Final = 1.0
#: Attempts closed in one go; more are closed in the next.
_AT_ONCE: Final = 1_000

#: Attempts of one ingress without an outcome.
_OPEN: Final = """
SELECT operation_id, a.session_id AS session_id, a.connector AS connector, a.protocol AS protocol,
       a.traceparent AS traceparent
FROM (SELECT started_at, operation_id FROM outcomes WHERE ingress = {ingress:String}) AS o
RIGHT ANTI JOIN (
    SELECT started_at, operation_id, session_id, connector, protocol, traceparent
    FROM attempts WHERE ingress = {ingress:String}
) AS a USING (started_at, operation_id)
LIMIT {limit:UInt32}
"""


class Absences:
    """Which ingresses are missing, since when: pure, on the caller's monotonic clock in seconds."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._missing: dict[str, float | None] = {}

    @property
    def known(self) -> tuple[str, ...]:
        """Ingresses that may have left something open."""
        return tuple(self._missing)

    def saw(self, ingresses: Iterable[str]) -> None:
        """These have published something."""
        for ingress in ingresses:
            self._missing.setdefault(ingress, None)

    def look(self, alive: set[str], now: float) -> list[str]:
        """The ones that are gone: missing at every look for the grace time."""
        gone = []
        for ingress, since in self._missing.items():
            if ingress in alive:
                self._missing[ingress] = None
            elif since is None:
                self._missing[ingress] = now
            elif now - since >= self._grace:
                gone.append(ingress)
        return gone

    def forget_time(self) -> None:
        """The looks were not to be trusted: every grace time begins anew."""
        self._missing = dict.fromkeys(self._missing)

    def closed(self, ingress: str) -> None:
        """Nothing of it is open any more."""
        self._missing.pop(ingress, None)


class Closer:
    """Runs in the copy that writes the audit stream."""

    def __init__(
        self,
        *,
        ingresses: KeyValue,
        jetstream: JetStreamContext,
        store: Store,
        metrics: Metrics,
        stored: Callable[[], int],
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stored` tells the sequence up to which the audit stream is in ClickHouse."""
        self.absences = Absences(grace)
        self._ingresses = ingresses
        self._jetstream = jetstream
        self._store = store
        self._metrics = metrics
        self._stored = stored
        self._clock = clock
        #: What must be stored before an ingress's open attempts are known: the stream's end after it had gone.
        self._barriers: dict[str, int] = {}

    async def run(self, writing: Callable[[], bool]) -> None:
        """Look again and again while this copy writes; a copy that begins to write asks ClickHouse who there was."""
        begun = False
        while True:
            try:
                if not writing():
                    begun = False
                else:
                    if not begun:
                        await self.begin()
                        begun = True
                    await self.look()
            except (NatsError, StoreUnavailable) as error:
                log.debug("not closing now", error=str(error) or type(error).__name__)
                self.absences.forget_time()
            await asyncio.sleep(_INTERVAL)

    async def begin(self) -> None:
        """Find the ingresses on record. Raises StoreError."""
        self._barriers.clear()
        rows = await self._store.query("SELECT DISTINCT ingress FROM attempts")
        self.absences.saw(row["ingress"] for row in rows)

    async def look(self) -> None:
        """Close what is open of those that are gone. Raises NatsError, StoreError."""
        alive = {ingress for ingress in self.absences.known if await self._lives(ingress)}
        for ingress in self.absences.look(alive, self._clock()):
            await self._close(ingress)

    async def _lives(self, ingress: str) -> bool:
        try:
            await self._ingresses.get(ingress)
        except (KeyNotFoundError, InvalidKeyError):
            return False
        return True

    async def _close(self, ingress: str) -> None:
        if ingress not in self._barriers:
            self._barriers[ingress] = (await stream_state(self._jetstream, subjects.AUDIT_STREAM)).last
        if self._stored() < self._barriers[ingress]:
            return
        left = await self._store.query(_OPEN, {"ingress": ingress, "limit": _AT_ONCE})
        for attempt in left:
            await self._publish(ingress, attempt)
        del self._barriers[ingress]  # what was published now must be stored before the next look
        if left:
            log.warning("closed attempts of an ingress that is gone", ingress=ingress, attempts=len(left))
            self._metrics.closed.inc(len(left))
        else:
            self.absences.closed(ingress)

    async def _publish(self, ingress: str, attempt: dict[str, Any]) -> None:
        event = closing(ingress, attempt)
        headers = {"Nats-Msg-Id": event.event_id}
        await self._jetstream.publish(
            subjects.of(event), event.model_dump_json().encode(), headers=headers, stream=subjects.AUDIT_STREAM
        )


def closing(ingress: str, attempt: dict[str, Any]) -> OperationFinished:
    """The outcome we write: of one operation always under the same id, so that it is stored once."""
    operation_id = attempt["operation_id"]
    return OperationFinished(
        event_id=str(uuid5(NAMESPACE_OID, f"countersign:unknown:{operation_id}")),
        ingress=ingress,
        session_id=attempt["session_id"],
        traceparent=attempt["traceparent"],
        operation_id=operation_id,
        connector=attempt["connector"],
        protocol=attempt["protocol"],
        outcome=Outcome.UNKNOWN,
        error="its ingress ended before it told the outcome",
    )
