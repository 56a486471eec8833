"""How an event of the AUDIT stream reaches a subscriber of ours: which consumer, how long until it comes again, when.

FastStream acks, naks and rejects by the subscriber's ack policy: what cannot be read is rejected for good, a handler
raises `later()` to see it again, and `keeping` holds a redelivery off during slow work.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from faststream.exceptions import NackMessage
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.message import NatsMessage
from nats.aio.msg import Msg
from nats.js.api import AckPolicy as JetStreamAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy

from schemas.base import Contract
from schemas.subjects import AUDIT_STREAM
from services.approver.store import BUS_ERRORS
from services.runtime.nats.broker import of
from services.runtime.nats.permissions import inbox
from services.runtime.tasks import TaskGroup, end

AUDIT = JStream(AUDIT_STREAM, declare=False)
#: Where pulled events arrive: only this role may listen there (services/runtime/nats/permissions.py).
INBOX = f"{inbox('approver')}.".encode()
#: One at a time, asked for anew this often: a server that restarts forgets whom it owes an answer, so that this is how
#: late the first event after a restart can be.
PULL = PullSub(batch_size=1, timeout=1.0)
#: Seconds until an event comes again, to this copy or another, when nobody acked it.
ACK_WAIT = 10.0
#: Seconds between two signs that we are still at it; several fit into ACK_WAIT.
PROGRESS = 3.0
#: Seconds before another attempt: doubled each time, up to the second.
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0


def heard(
    broker: NatsBroker,
    subject: str,
    model: type[Contract],
    *,
    durable: str,
    at_once: int,
    title: str,
    description: str,
    unsettled: int | None = None,
) -> Any:
    """The subscriber of a durable consumer on AUDIT, shared by all copies; to decorate a handler of `model`.

    Acks by REJECT_ON_ERROR: what cannot be read is never readable; a handler raises `Here.later` for anything else.
    `at_once` events are being worked on by one copy; `unsettled` (by default as many) by all copies together, those
    that come again later among them.
    """
    return broker.subscriber(
        subject,
        stream=AUDIT,
        durable=durable,
        pull_sub=PULL,
        inbox_prefix=INBOX,
        config=consumer(unsettled or at_once),
        max_workers=at_once,
        decoder=of(model),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
        no_reply=True,
        title=title,
        description=description,
    )


def consumer(max_ack_pending: int) -> ConsumerConfig:
    """A durable consumer, shared by all copies, that knows no last attempt: the handler says when to give up."""
    return ConsumerConfig(
        ack_policy=JetStreamAckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        deliver_policy=DeliverPolicy.ALL,
        max_deliver=-1,
        max_ack_pending=max_ack_pending,
    )


class Here:
    """The delivery that the running handler is dealing with."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    @property
    def message(self) -> NatsMessage:
        """The message as FastStream has it."""
        message: NatsMessage = self._broker.context.get_local("message")
        return message

    def later(self, at_least: float = 0) -> NackMessage:
        """Raise this to be given the event again, after a time in seconds that grows with each delivery."""
        delivered = self.message.raw_message.metadata.num_delivered or 1
        delay = min(FIRST_DELAY * 2.0 ** min(delivered - 1, 16), LONGEST_DELAY)
        return NackMessage(delay=max(delay, at_least))

    @asynccontextmanager
    async def keeping(self, tasks: TaskGroup) -> AsyncIterator[None]:
        """While inside, the event is not given to another copy."""
        task = tasks.start(_keep(self.message.raw_message), "keep")
        try:
            yield
        finally:
            await end(task)


async def _keep(message: Msg) -> None:
    while True:
        await asyncio.sleep(PROGRESS)
        with suppress(*BUS_ERRORS):
            await message.in_progress()
