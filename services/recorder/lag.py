"""How far behind the record is: messages that wait in a stream, and the age of the oldest. Counterpart: metrics.py."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from services.recorder.metrics import Metrics

log = structlog.get_logger(__name__)

#: Seconds between two measurements.
_INTERVAL: Final = 1.0


async def measure(jetstream: JetStreamContext, stream: str, stored: int, now: float) -> tuple[int, float]:
    """Messages and seconds behind; `now` in seconds since 1970. Raises nats errors."""
    state = (await jetstream.stream_info(stream)).state
    waiting = min(state.last_seq - stored, state.messages)
    if waiting <= 0:
        return 0, 0.0
    try:
        oldest = await jetstream.get_msg(stream, seq=stored + 1, subject=">", next=True)
    except NotFoundError:
        return 0, 0.0
    return waiting, max(0.0, now - oldest.time.timestamp()) if oldest.time else 0.0


async def keep_measured(
    jetstream: JetStreamContext, stream: str, stored: Callable[[], int], metrics: Metrics, interval: float = _INTERVAL
) -> None:
    """Measure again and again; while NATS is away the last figures stand."""
    while True:
        try:
            messages, seconds = await measure(jetstream, stream, stored(), time.time())
            metrics.lag_messages.labels(stream).set(messages)
            metrics.lag_seconds.labels(stream).set(seconds)
        except NatsError as error:
            log.debug("lag not measured", stream=stream, error=str(error) or type(error).__name__)
        await asyncio.sleep(interval)
