"""Delete the keys of sessions that are to be erased: what was sealed by them stays, and nobody can read it again.

An erasure is an event like any other (`ContentErased`): in the stream, in `erasures`, under the log's seal; so who had
what erased is on record before anything is deleted. This loop makes it true, and is repeated until nothing is left:
a crash in between, or a key that a dying writer still inserts, only delays it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from services.recorder.clickhouse import Store
from services.recorder.metrics import Metrics
from services.recorder.store_errors import StoreError

log = structlog.get_logger(__name__)

#: Seconds between two looks: one question of a few rows.
_INTERVAL: Final = 2.0
#: Seconds a deletion may take; it rewrites the parts of `session_keys` that hold such keys.
_TIMEOUT: Final = 300.0

_LEFT: Final = (
    "SELECT uniqExact(session_id) AS n FROM session_keys WHERE session_id IN (SELECT session_id FROM erasures)"
)
#: Waited for on all replicas: afterwards no part that is read holds such a key.
_DELETE: Final = """
ALTER TABLE session_keys DELETE WHERE session_id IN (SELECT session_id FROM erasures) SETTINGS mutations_sync = 2
"""
#: Keys that were looked up a moment ago; on other replicas of a server they end with LIFETIME, in a minute.
_FORGET: Final = "SYSTEM RELOAD DICTIONARY keyring"


async def erase(store: Store) -> int:
    """Delete what is to be deleted; answers of how many sessions. Raises StoreError."""
    (row,) = await store.query(_LEFT)
    if row["n"]:
        await store.command(_DELETE, timeout=_TIMEOUT)
        await store.command(_FORGET)
        log.warning("content erased", sessions=row["n"])
    return int(row["n"])


async def keep_erased(store: Store, writing: Callable[[], bool], metrics: Metrics, interval: float = _INTERVAL) -> None:
    """Look again and again while this copy writes."""
    while True:
        await asyncio.sleep(interval)
        if not writing():
            continue
        try:
            metrics.erased.inc(await erase(store))
        except StoreError as error:
            log.error("content is not erased yet", error=str(error))
