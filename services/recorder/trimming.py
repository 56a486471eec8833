"""Keep a stream from filling up: a full one refuses new events, and then nothing is forwarded (G2).

Only what is stored in ClickHouse and was consumed by every durable consumer is removed: while the stream is above half
of its size, what has been stored for a while; when it is nearly full, all of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from services.recorder.metrics import Metrics

log = structlog.get_logger(__name__)

#: Seconds for which stored events stay for those who tap the bus.
KEEP: Final = 3600.0
#: Share of `nats.max_bytes` above which old events are removed, and above which all stored ones are.
HALF: Final = 0.5
NEARLY_FULL: Final = 0.9
#: Seconds between two looks.
_INTERVAL: Final = 15.0


class Stored:
    """What was stored when: samples of the position over the last `keep` seconds. Pure."""

    def __init__(self, keep: float = KEEP) -> None:
        self._keep = keep
        self._samples: deque[tuple[float, int]] = deque()
        self._old = 0

    def sample(self, stored: int, now: float) -> None:
        """The position at a moment of the caller's monotonic clock."""
        self._samples.append((now, stored))
        while self._samples and now - self._samples[0][0] >= self._keep:
            self._old = self._samples.popleft()[1]

    @property
    def long_ago(self) -> int:
        """The last sequence that was stored at least `keep` seconds ago; 0 while that is not known."""
        return self._old

    @property
    def now(self) -> int:
        """The last sequence stored."""
        return self._samples[-1][1] if self._samples else self._old


def removable(stored: Stored, used: int, limit: int, consumers: Iterable[ConsumerInfo]) -> int:
    """The last sequence that may be removed, or 0. `used` and `limit` are bytes; a limit of 0 or less means none."""
    if limit <= 0 or used <= limit * HALF:
        return 0
    last = stored.now if used > limit * NEARLY_FULL else stored.long_ago
    return min([last, *(_needed_behind(consumer) for consumer in consumers)])


def _needed_behind(consumer: ConsumerInfo) -> int:
    """The last sequence this consumer will not ask for again; one with nothing to do needs nothing."""
    if not consumer.config.durable_name or not (consumer.num_pending or consumer.num_ack_pending):
        return 2**63
    return (consumer.ack_floor.stream_seq if consumer.ack_floor else 0) or 0


async def trim(jetstream: JetStreamContext, stream: str, stored: Stored) -> int:
    """Remove what may be removed; answers how many messages. Raises nats errors."""
    info = await jetstream.stream_info(stream)
    used, limit = info.state.bytes, info.config.max_bytes or 0
    if limit <= 0 or used <= limit * HALF:
        return 0
    last = removable(stored, used, limit, await jetstream.consumers_info(stream))
    if last < info.state.first_seq:
        return 0
    await jetstream.purge_stream(stream, seq=last + 1)
    left = await jetstream.stream_info(stream)
    return max(0, info.state.messages - left.state.messages)


async def keep_trimmed(
    jetstream: JetStreamContext,
    stream: str,
    *,
    position: Callable[[], int],
    writing: Callable[[], bool],
    metrics: Metrics,
    interval: float = _INTERVAL,
) -> None:
    """Look again and again while this copy writes the stream."""
    stored = Stored()
    while True:
        await asyncio.sleep(interval)
        if not writing():
            continue
        stored.sample(position(), time.monotonic())
        try:
            removed = await trim(jetstream, stream, stored)
        except NatsError as error:
            log.debug("not trimmed", stream=stream, error=str(error) or type(error).__name__)
            continue
        if removed:
            metrics.trimmed.labels(stream).inc(removed)
            log.info("trimmed", stream=stream, messages=removed)
