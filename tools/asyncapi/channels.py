"""One channel per event: its address as `schemas.subjects` writes it, and who publishes it with which certainty.

The addresses are computed, not copied. What is written here by hand are words, and the publishers; tests hold those
against the bus's permissions (services/runtime/nats/permissions.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from schemas import subjects
from schemas.events import AnyEvent, Event, VerdictReached
from schemas.operations import Connector
from services.runtime.nats.permissions import Role

#: What stands for a part of a subject.
PARAMETERS = {
    "protocol": "Protocol of the connector the agent came through: `http`, `postgres`, …",
    "connector": "Name of the connector in countersign.yaml. `-` for a request refused before it had one.",
    "ingress": "Id of one ingress process, new at every start.",
    "operation_id": "UUIDv7 of the operation; the agent got it as `Countersign-Operation`.",
    "session_id": "UUIDv7 of the agent's session; for HTTP, of its connection.",
    "approval_id": "UUIDv7 of the question put to people.",
}

_AWAITED = "Its JetStream ack is awaited: without it nothing is forwarded. Published once, without `Nats-Msg-Id`."
_OUTBOX = "Published again with the same `Nats-Msg-Id` until JetStream acks it."
_PLAIN = "A plain publish, answered by nobody; JetStream captures it on the way. Without it in time, ingress refuses."
_REPEATED = "Under a fixed `event_id`, which is also its `Nats-Msg-Id`; after a crash it is published again."

#: Who publishes each event, and how certain it is to arrive.
PUBLISHERS: dict[str, tuple[tuple[Role, str], ...]] = {
    "SessionOpened": (("ingress", _OUTBOX),),
    "SessionClosed": (("ingress", _OUTBOX),),
    "OperationAttempted": (("ingress", _AWAITED),),
    "VerdictReached": (("policy", _PLAIN),),
    "VerdictReachedByPeople": (("approver", _REPEATED),),
    "ApprovalRequested": (("policy", "Stored by JetStream before the verdict that says `hold` is published."),),
    "ApprovalResolved": (("approver", _REPEATED),),
    "ApprovalWithdrawn": (("ingress", _OUTBOX),),
    "ApprovalPreviewed": (("ingress", _OUTBOX),),
    "ApprovalUsed": (
        ("ingress", _OUTBOX),
        ("approver", f"With outcome `unknown`, for an ingress that is gone. {_REPEATED}"),
    ),
    "GrantRevoked": (("approver", _REPEATED),),
    "ContentErased": (
        ("admin", "By `countersign audit erase`, which awaits JetStream's ack."),
        ("recorder", f"For `audit.retention_by_tag`. {_REPEATED}"),
    ),
    "OperationFinished": (
        ("ingress", _OUTBOX),
        ("recorder", f"With outcome `unknown`, for an ingress that is gone. {_REPEATED}"),
    ),
    "SessionFrame": (("ingress", "Best effort, without an ack; a lost one is a gap in the session's `seq`."),),
}


@dataclass(frozen=True)
class EventChannel:
    """Where one class of event travels."""

    event: type[Event]
    #: Fields that its subject depends on, and what the channel's name then ends with.
    fixed: Mapping[str, str] = field(default_factory=dict)
    ending: str = ""

    @property
    def name(self) -> str:
        """The event's class name, and the ending."""
        return self.event.__name__ + self.ending

    @property
    def address(self) -> str:
        """Its subject with `{placeholders}`, as `schemas.subjects.of` makes it."""
        blank = {name: self._blank(name) for name in self.event.model_fields}
        return subjects.of(self.event.model_construct(**{**blank, **self.fixed}))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The placeholders in the address."""
        return tuple(part[1:-1] for part in self.address.split(".") if part.startswith("{"))

    @property
    def stream(self) -> str:
        """The JetStream stream that captures it."""
        frames = any(covers(subject, self.address) for subject in subjects.RECORDING_SUBJECTS)
        return subjects.RECORDING_STREAM if frames else subjects.AUDIT_STREAM

    def _blank(self, name: str) -> Any:
        if self.event.model_fields[name].annotation is Connector:
            return Connector.model_construct(name="{connector}", protocol="{protocol}")
        return f"{{{name}}}"


#: Every event there is.
EVENTS = (
    *(EventChannel(event) for event in get_args(AnyEvent)),
    EventChannel(VerdictReached, {"by": "approver"}, "ByPeople"),
)


def covers(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` hears `subject` (NATS: `*` is one token, a last `>` one or more)."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        return len(given) > len(wanted) and all(w in ("*", g) for w, g in zip(wanted, given, strict=False))
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))
