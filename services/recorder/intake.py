"""The durable pull consumer of one stream, as FastStream's batch subscriber. Counterpart: writer.py handles batches.

Only the writer consumes. The consumer is made anew behind what is stored whenever a writer begins: a durable one that
several copies have pulled from hands out pieces in any order.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.recorder.batch import LONGEST, Delivery, next_age
from services.recorder.pulling import Puller
from services.runtime.nats.permissions import inbox

#: Seconds before JetStream delivers again what was not acked. While ClickHouse is away longer, messages come again and
#: are dropped; shorter would only mean more of that.
ACK_WAIT: Final = 120.0
#: Messages delivered and not acked. A claim left by another writer is gathered whole before it is acked, and it may
#: have been made with the largest `audit.batch_rows` there is.
_MAX_ACK_PENDING: Final = 200_000


class Source(NamedTuple):
    """A stream, its subjects, and the name of our durable consumer on it."""

    stream: str
    subjects: tuple[str, ...]
    durable: str


Handler = Callable[[list[Delivery], Msg], Awaitable[None]]


class Intake:
    """Starts and stops the subscriber; a handler gets each batch with its last message, to ack all of it."""

    def __init__(self, broker: NatsBroker, source: Source, handler: Handler, *, rows: int, age: float) -> None:
        """`rows` and `age` (seconds) bound a batch; the age grows where storing takes long (batch.next_age)."""
        self.source = source
        #: Seconds that a message may wait here at most.
        self.longest_age = LONGEST * age
        self._rows = rows
        self._age = age
        self._handler = handler
        self._broker = broker
        self._puller: Puller
        self._subscriber = broker.subscriber(
            config=ConsumerConfig(filter_subjects=list(source.subjects)),
            durable=source.durable,
            stream=JStream(source.stream, declare=False),
            pull_sub=PullSub(batch_size=rows, timeout=age, batch=True),
            # FastStream's own default is an inbox that our NATS user may not hear.
            inbox_prefix=f"{inbox('recorder')}.".encode(),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            decoder=_messages,
            title=f"recorder:{source.stream}",
            description="Every message of the stream is written to ClickHouse, exactly once.",
        )
        self._subscriber(self._on_batch)

    async def start(self, jetstream: JetStreamContext, stored: int) -> None:
        """Make the consumer anew behind sequence `stored`, and consume. Raises nats errors."""
        with suppress(NotFoundError):
            await jetstream.delete_consumer(self.source.stream, self.source.durable)
        await jetstream.add_consumer(self.source.stream, self._consumer(stored))
        client, durable = self._broker.connection, self.source.durable
        self._puller = Puller(client, self.source.stream, durable, rows=self._rows, age=self._age)
        await self._puller.start()
        try:
            await self._subscriber.start()
        except NatsError:
            await self._puller.unsubscribe()
            raise
        # The subscriber's task has not run yet: it finds ours.
        theirs, self._subscriber.subscription = self._subscriber.subscription, cast("Any", self._puller)
        assert theirs is not None
        await theirs.unsubscribe()

    async def stop(self) -> None:
        """Take no more batches; waits for the one at hand, up to the broker's graceful timeout."""
        await self._subscriber.stop()

    def _consumer(self, stored: int) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.source.durable,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=stored + 1,
            # One ack for a whole batch.
            ack_policy=JetStreamAckPolicy.ALL,
            ack_wait=ACK_WAIT,
            max_ack_pending=_MAX_ACK_PENDING,
        )

    async def _on_batch(self, messages: list[Msg]) -> None:
        begun = time.monotonic()
        await self._handler([delivery(message) for message in messages], messages[-1])
        self._puller.age = next_age(self._age, time.monotonic() - begun)


async def _messages(message: StreamMessage[list[Msg]]) -> list[Msg]:
    """FastStream's default would parse the JSON of each; rows.py does that, with its class."""
    return message.raw_message


def delivery(message: Msg) -> Delivery:
    """What JetStream tells in the reply subject (NATS ADR-15): `$JS.ACK.….<stream seq>.<delivery>.<ns>.<pending>`."""
    tokens = message.reply.split(".")
    # 9 tokens, or 11 and more with a domain and an account hash before the stream.
    offset = 0 if len(tokens) == 9 else 2
    return Delivery(
        message.subject,
        message.data,
        int(tokens[5 + offset]),
        int(tokens[6 + offset]),
        int(tokens[7 + offset]) // 1000,
        int(tokens[8 + offset]),
    )
