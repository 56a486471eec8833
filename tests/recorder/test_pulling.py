"""Batches of a durable consumer, on a real bus: complete, bounded, and calm where there is nothing to get."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from schemas import subjects as s
from services.recorder import pulling
from services.recorder.intake import delivery
from services.recorder.pulling import Puller
from tests.conftest import Bus

#: Longer than any test: what ends a batch here is never its age, unless the test is about that.
LONG = 60.0


@pytest.fixture
async def jetstream(bus: Bus) -> JetStreamContext:
    made = (await bus.connect("admin")).jetstream()
    await made.add_consumer(s.RECORDING_STREAM, ConsumerConfig("recorder-frames", ack_policy=AckPolicy.ALL))
    return made


@pytest.fixture
async def puller(bus: Bus, jetstream: JetStreamContext) -> AsyncIterator[Puller]:
    made = Puller(await bus.connect("recorder"), s.RECORDING_STREAM, "recorder-frames", rows=40, age=LONG)
    await made.start()
    yield made
    await made.unsubscribe()


async def publish(jetstream: JetStreamContext, number: int, size: int = 10) -> None:
    for _ in range(number):
        await jetstream.publish("cs.frame.http.x", b"x" * size)


async def test_a_batch_is_complete_and_the_next_goes_on_behind_it(jetstream: JetStreamContext, puller: Puller) -> None:
    await publish(jetstream, 80)
    first, second = await puller.fetch(40, LONG), await puller.fetch(40, LONG)
    assert [delivery(message).seq for message in (*first, *second)] == list(range(1, 81))


async def test_what_there_is_comes_when_the_time_is_up(jetstream: JetStreamContext, puller: Puller) -> None:
    puller.age = 0.2
    await publish(jetstream, 3)
    assert len(await puller.fetch(40, LONG)) == 3
    with pytest.raises(NatsTimeoutError):
        await puller.fetch(40, LONG)


async def test_the_rest_of_a_batch_is_not_waited_for(puller: Puller) -> None:
    """FastStream asks on until its own time is up; the batch was complete when it came."""
    with pytest.raises(NatsTimeoutError):
        await asyncio.wait_for(puller.fetch(39, LONG), LONG / 2)


async def test_large_messages_come_in_small_batches(
    jetstream: JetStreamContext, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JetStream ends the request at its bytes; nothing is dropped, and the next request brings the rest."""
    monkeypatch.setattr(pulling, "MAX_BATCH_BYTES", 100_000)
    await publish(jetstream, 12, size=30_000)
    seen: list[int] = []
    while len(seen) < 12:
        batch = await puller.fetch(40, LONG)
        assert len(batch) <= 3
        seen += [delivery(message).seq for message in batch]
    assert seen == list(range(1, 13))


async def test_a_consumer_that_is_gone_is_not_asked_in_a_hurry(jetstream: JetStreamContext, puller: Puller) -> None:
    puller.age = 0.2
    await jetstream.delete_consumer(s.RECORDING_STREAM, "recorder-frames")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(NatsTimeoutError):
        await puller.fetch(40, LONG)
    assert loop.time() - begun >= 0.2
