"""Who hears a subject, and what becomes of a message it could not use: read from the services' own subscribers.

The services register their subscribers on a FastStream broker that is never connected; its specification layer and
the subscribers tell the rest. Ingress hears verdicts over plain nats-py (services/ingress/gate.py) and is added.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faststream import AckPolicy
from faststream.nats import NatsBroker
from faststream.nats.subscriber.usecases import BatchPullStreamSubscriber, PullStreamSubscriber

from schemas import subjects
from services.approver import contract
from services.policy import listen
from services.recorder.__main__ import SOURCES
from services.recorder.intake import ACK_WAIT, Intake
from services.runtime.nats.broker import make_broker
from services.runtime.nats.permissions import Role

#: What a subscriber needs to work, and not to describe itself.
_NOTHING: Any = None


@dataclass(frozen=True)
class Listener:
    """One subscriber of one service."""

    role: Role
    title: str
    subject: str
    description: str
    delivery: str
    queue: str | None = None
    durable: str | None = None


def brokers() -> dict[Role, NatsBroker]:
    """Each service's broker with all its subscribers, unconnected."""
    policy, approver, recorder = make_broker(None), make_broker(None), make_broker(None)
    listen.declare(policy)
    contract.declare(approver)
    for source, _ in SOURCES:
        Intake(recorder, source, _NOTHING, rows=1, age=1)
    return {"policy": policy, "approver": approver, "recorder": recorder}


def listeners() -> tuple[Listener, ...]:
    """Everybody who hears anything, ingress first."""
    described = [one for role, broker in brokers().items() for one in _of_broker(role, broker)]
    return (_gate(), *sorted(described, key=lambda one: (one.role, one.title, one.subject)))


def _of_broker(role: Role, broker: NatsBroker) -> Iterator[Listener]:
    subscribers: Any = broker.subscribers
    for subscriber in subscribers:
        spec = subscriber.specification
        for subject in spec.subjects:
            yield Listener(
                role=role,
                title=str(spec.config.title_),
                subject=subject,
                description=spec.description or "",
                delivery=_delivery(subscriber),
                queue=spec.config.queue or None,
                durable=subscriber.config.durable_name,
            )


def _delivery(subscriber: Any) -> str:
    if not isinstance(subscriber, PullStreamSubscriber | BatchPullStreamSubscriber):
        return f"Core NATS, queue group `{subscriber.queue}`: at most once, to one copy; there is nothing to ack."
    config = subscriber.config
    consumer = f"Durable pull consumer `{config.durable_name}` of {subscriber.stream.name}: at least once. "
    if subscriber.ack_policy is AckPolicy.MANUAL:
        return consumer + f"Acked once it is stored; delivered again after {ACK_WAIT:g} s without an ack."
    assert subscriber.ack_policy is AckPolicy.REJECT_ON_ERROR
    return consumer + (
        "Acked when it was dealt with; rejected for good when it cannot be read; delivered again, after a delay, when "
        f"what it needs is away, and after {config.ack_wait:g} s without an ack."
    )


def _gate() -> Listener:
    return Listener(
        role="ingress",
        title="gate",
        subject=subjects.verdicts_of("*"),
        description="Each ingress hears the verdicts on its own operations, and forwards only with one that allows. "
        "Of several from policy on one operation, the first counts.",
        delivery="Core NATS, to that one process: at most once; there is nothing to ack.",
    )
