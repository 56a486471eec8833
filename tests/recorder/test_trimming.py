"""trimming.py: only what is stored, and what no durable consumer needs, is removed from a filling stream."""

import pytest
from nats.js.api import ConsumerConfig, ConsumerInfo, RetentionPolicy, SequenceInfo, StreamConfig

from services.recorder.trimming import Stored, removable, trim
from tests.conftest import Bus

KEEP = 100.0


def consumer(floor: int, pending: int = 1, durable: str | None = "approver-requested") -> ConsumerInfo:
    return ConsumerInfo(
        name="c",
        created=None,  # type: ignore[arg-type]
        stream_name="S",
        config=ConsumerConfig(durable_name=durable),
        ack_floor=SequenceInfo(consumer_seq=floor, stream_seq=floor),
        num_pending=pending,
        num_ack_pending=0,
    )


def stored() -> Stored:
    """900 was stored long ago, 1000 just now."""
    samples = Stored(KEEP)
    for at, position in ((0.0, 900), (150.0, 1000)):
        samples.sample(position, at)
    return samples


@pytest.mark.parametrize(
    ("used", "limit", "consumers", "last"),
    [
        pytest.param(40, 100, [], 0, id="room enough"),
        pytest.param(60, 100, [], 900, id="above half: what was stored long ago"),
        pytest.param(95, 100, [], 1000, id="nearly full: all that is stored"),
        pytest.param(95, 100, [consumer(70)], 70, id="not beyond another consumer"),
        pytest.param(95, 100, [consumer(70, pending=0)], 1000, id="an idle consumer needs nothing"),
        pytest.param(95, 100, [consumer(70, durable=None)], 1000, id="nor does a passer-by"),
        pytest.param(95, 0, [], 0, id="no limit, no trimming"),
    ],
)
def test_what_may_be_removed(used: int, limit: int, consumers: list[ConsumerInfo], last: int) -> None:
    assert removable(stored(), used, limit, consumers) == last


async def test_a_filling_stream_takes_new_messages_again(bus: Bus) -> None:
    admin = (await bus.connect("admin")).jetstream()
    await admin.add_stream(
        StreamConfig(name="SMALL", subjects=["small"], max_bytes=20_000, retention=RetentionPolicy.LIMITS)
    )
    for _ in range(15):
        await admin.publish("small", b"x" * 1000)
    position = Stored(KEEP)
    position.sample(12, 0.0)
    assert await trim(admin, "SMALL", position) == 0  # stored, but only just
    position.sample(12, KEEP)
    assert await trim(admin, "SMALL", position) == 12
    assert (await admin.stream_info("SMALL")).state.first_seq == 13
