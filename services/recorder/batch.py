"""Messages as the stream delivers them, and how they are cut into batches. Pure; counterpart: intake.py.

fetched messages ─► InOrder.take ─► split_at an open claim ─► pieces ─► one claim, one set of inserts, one ack each
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

#: Largest batch in bytes of events; rows and ClickHouse's blocks take a small multiple of it in memory.
MAX_BATCH_BYTES: Final = 32 * 1024 * 1024
#: Seconds of gathering to each second of storing.
GATHERING: Final = 3
#: How many times its age a batch may wait at most.
LONGEST: Final = 4


class Delivery(NamedTuple):
    """One message of a stream, as a consumer delivered it."""

    subject: str
    data: bytes
    #: Its sequence in the stream: ascending, with gaps where messages were removed.
    seq: int
    #: The consumer's count of deliveries: without gaps, unless one did not reach us.
    delivery: int
    #: When JetStream stored it, in microseconds since 1970.
    published_at: int
    #: How many messages waited behind it when it was delivered.
    pending: int = 0


class OutOfOrder(Exception):
    """A delivery is missing: what follows must not be stored before it. The consumer has to be made anew."""


class InOrder:
    """Lets each message of a consumer through once and in order.

    A message that is delivered again after it was stored is dropped; a delivery that never arrived (dropped by a full
    client, or given to somebody else) raises OutOfOrder.
    """

    def __init__(self, stored: int) -> None:
        """The consumer starts behind sequence `stored`."""
        self._seen = stored
        #: The consumer's number of the last delivery that came.
        self.delivery = 0

    def take(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The new ones among them. Raises OutOfOrder."""
        fresh = []
        for delivery in deliveries:
            if delivery.delivery != self.delivery + 1:
                raise OutOfOrder(f"delivery {delivery.delivery} came after {self.delivery}")
            self.delivery = delivery.delivery
            if delivery.seq > self._seen:
                self._seen = delivery.seq
                fresh.append(delivery)
        return fresh


def split_at(deliveries: Sequence[Delivery], boundary: int) -> tuple[list[Delivery], list[Delivery]]:
    """Those up to sequence `boundary`, and those behind it."""
    upto = [delivery for delivery in deliveries if delivery.seq <= boundary]
    return upto, list(deliveries[len(upto) :])


def reaches(deliveries: Sequence[Delivery], boundary: int) -> bool:
    """Whether all messages up to sequence `boundary` that still exist are among them, or before them."""
    return bool(deliveries) and (deliveries[-1].seq >= boundary or deliveries[-1].pending == 0)


def pieces(deliveries: Sequence[Delivery], max_bytes: int = MAX_BATCH_BYTES) -> list[list[Delivery]]:
    """Cut where a batch would grow too large; a single message may be as large as NATS lets it be."""
    cut: list[list[Delivery]] = []
    size = 0
    for delivery in deliveries:
        if not cut or size + len(delivery.data) > max_bytes:
            cut.append([])
            size = 0
        cut[-1].append(delivery)
        size += len(delivery.data)
    return cut


def next_age(age: float, took: float) -> float:
    """Seconds to gather the next batch, by what it took to store the last.

    An insert costs some milliseconds whatever its size, and so do the merges that follow it: under load larger batches
    leave more of the processor to others, for some lag.
    """
    return min(max(age, GATHERING * took), LONGEST * age)
