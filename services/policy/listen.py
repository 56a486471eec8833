"""Where attempts come in: FastStream's subscriber, or the same subscription without it on the hot path.

Core NATS, no ack: an attempt nobody answers in time is refused by ingress, and never judged late. FastStream's
subscriber is the contract (docs/asyncapi.yaml) and what runs when traces are wanted. Its context, middlewares and
metrics take more time than judging does (measured: 182 µs of CPU for an attempt, 82 without), so that without traces a
plain subscription hears the same subject in the same queue group.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from schemas.events import ApprovalRequested, OperationAttempted, VerdictReached
from services.policy.on_attempt import Judge
from services.runtime.nats.broker import of

#: Attempts that may wait to be judged, about a second of work: beyond it the client drops them, and their callers get a
#: 503, instead of verdicts that come too late for everybody.
MAX_PENDING = 10_000
#: Bytes of them.
MAX_PENDING_BYTES = 128 * 1024 * 1024

Stop = Callable[[], Awaitable[None]]


async def listen(client: Client, judge: Judge) -> Stop:
    """Hear attempts on a plain subscription; returns what ends it."""

    async def hear(message: Msg) -> None:
        await judge.on_attempt(judge.decode(message.data))

    subscription = await client.subscribe(
        subjects.ATTEMPTS,
        queue=subjects.POLICY_QUEUE,
        cb=hear,
        pending_msgs_limit=MAX_PENDING,
        pending_bytes_limit=MAX_PENDING_BYTES,
    )
    await client.flush()  # now the bus knows it: whoever reads "ready" is answered
    return subscription.drain


async def listen_traced(broker: NatsBroker, judge: Judge) -> Stop:
    """Hear attempts with FastStream, its traces and its metrics; returns what ends it."""
    declare(broker, judge)
    await broker.start()
    await broker.connection.flush()
    return broker.stop


def declare(broker: NatsBroker, judge: Judge | None = None) -> None:
    """Put the subscriber, and for docs/asyncapi.yaml what it publishes, on a broker.

    `no_reply`, for the reply subject of an attempt is its publisher's JetStream ack.
    """

    async def decode(message: StreamMessage[Any]) -> OperationAttempted | None:
        assert judge, "a broker that only describes itself hears nothing"
        return judge.decode(message.body)

    async def on_attempt(attempt: OperationAttempted) -> None:
        assert judge
        await judge.on_attempt(attempt)

    subscriber = broker.subscriber(
        subjects.ATTEMPTS,
        queue=subjects.POLICY_QUEUE,
        ack_policy=AckPolicy.MANUAL,  # core NATS: nothing to ack
        no_reply=True,
        decoder=decode if judge else of(OperationAttempted),
        pending_msgs_limit=MAX_PENDING,
        pending_bytes_limit=MAX_PENDING_BYTES,
        title="OperationAttempted:Policy",
        description="Judge an attempt; one copy of the queue group does.",
    )
    subscriber(on_attempt)
    broker.publisher(subjects.VERDICTS_OF_POLICY, schema=VerdictReached, title="VerdictReached:Policy")
    broker.publisher(subjects.APPROVALS_REQUESTED, schema=ApprovalRequested, title="ApprovalRequested")
