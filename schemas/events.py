"""The events on the bus: one class each, one subject family each (schemas/subjects.py).

An event is published once, captured by a JetStream stream, and stored by the recorder byte for byte.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from schemas.base import Contract, Id, Json, Moment, Name, new_id, utc_now
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation
from schemas.verdicts import ApprovalTerms, Obligations, Verdict


class Event(Contract):
    """What every event carries."""

    event_id: Id = Field(default_factory=new_id)
    at: Moment = Field(default_factory=utc_now)
    #: The ingress process this is about: its instance id, new at every start.
    ingress: str
    #: Gapless per ingress process, from 1; None when another service publishes.
    ingress_seq: int | None = None
    session_id: Id
    #: W3C Trace Context `traceparent`, or empty.
    traceparent: str = ""


class SessionOpened(Event):
    """An agent connected. For HTTP, a session is a connection."""

    type: Literal["SessionOpened"] = "SessionOpened"
    protocol: str
    #: `address:port` of the client.
    peer: str
    tls: bool = False


class SessionClosed(Event):
    """The connection ended."""

    type: Literal["SessionClosed"] = "SessionClosed"
    protocol: str
    operations: int
    reason: str = ""


class OperationAttempted(Event):
    """An authenticated agent asks for something. Its JetStream ack is the durable audit record (G2)."""

    type: Literal["OperationAttempted"] = "OperationAttempted"
    operation_id: Id
    identity: Identity
    connector: Connector
    operation: Operation
    #: Entity name to count, in the request.
    findings: dict[str, int] = Field(default_factory=dict)
    asked: Asked = Asked()
    peer: str = ""


class VerdictReached(Event):
    """Policy or an approver decided."""

    type: Literal["VerdictReached"] = "VerdictReached"
    operation_id: Id
    by: Literal["policy", "approver"]
    verdict: Verdict


class ApprovalRequested(Event):
    """People are asked; all that they are shown, and nothing that they are not."""

    type: Literal["ApprovalRequested"] = "ApprovalRequested"
    approval_id: Id
    operation_id: Id
    identity: Identity
    connector: Connector
    operation: Operation
    findings: dict[str, int] = Field(default_factory=dict)
    asked: Asked = Asked()
    terms: ApprovalTerms
    policy_version: str
    #: The rule's obligations, so that the approver sees what will be masked.
    obligations: Obligations = Obligations()


class ApprovalState(StrEnum):
    """States of an approval; the legal moves are in services/approver/pending.py."""

    REQUESTED = "requested"
    PARTLY_APPROVED = "partly_approved"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SPENT = "spent"


class ApprovalResolved(Event):
    """The question is settled (`approved`, `denied`, `expired`, `withdrawn`)."""

    type: Literal["ApprovalResolved"] = "ApprovalResolved"
    approval_id: Id
    operation_id: Id
    state: ApprovalState
    #: Identity keys or e-mail addresses of those who decided.
    decided_by: tuple[str, ...] = ()
    reason: str = ""
    #: Set when the approver gave a time-boxed grant.
    grant_id: str | None = None
    #: One person let it through in an emergency, without the others whom the rule asks; `reason` is theirs.
    break_glass: bool = False


class ApprovalWithdrawn(Event):
    """The caller no longer waits: it disconnected, cancelled, or its ingress is gone."""

    type: Literal["ApprovalWithdrawn"] = "ApprovalWithdrawn"
    approval_id: Id
    operation_id: Id
    reason: str


class ApprovalPreviewed(Event):
    """The blast radius, found by ingress before people are asked (`ApprovalTerms.preview`)."""

    type: Literal["ApprovalPreviewed"] = "ApprovalPreviewed"
    approval_id: Id
    operation_id: Id
    #: Rows the database's planner expects the statement to change.
    estimated_rows: int | None = None
    #: Rows counted with the same predicate in a read-only transaction.
    counted_rows: int | None = None
    #: Why one of them is missing, in our words.
    problem: str = ""


class Outcome(StrEnum):
    """How an attempt ended; exactly one per attempt (G6)."""

    FORWARDED = "forwarded"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    #: Answered 202 to `Prefer: respond-async`; the approval lives on and is used by a later attempt.
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Refusal(Contract):
    """A request turned away at the door, before there was an identity or an operation to judge."""

    #: `unauthenticated`, `unknown_connector`, `malformed`, `too_large`, …
    code: str
    connector: str = ""
    action: str = ""
    #: Method and masked path, if they could be read.
    statement: str = ""
    peer: str = ""
    #: Refusals since the last recorded one that were not recorded because of the rate limit.
    suppressed: int = 0
    identity: Identity | None = None


class OperationFinished(Event):
    """How it ended, with a copy of the decision, so that this event alone tells the story."""

    type: Literal["OperationFinished"] = "OperationFinished"
    operation_id: Id
    connector: Name | Literal["-"]
    protocol: str
    outcome: Outcome
    decision: str = ""
    rules: tuple[str, ...] = ()
    reason: str = ""
    policy_version: str = ""
    approval_id: str | None = None
    approved_by: tuple[str, ...] = ()
    #: The protocol's own: an HTTP status, an SQLSTATE, an exit status; empty when there was none.
    status: str = ""
    #: What went wrong, in our words; never upstream content.
    error: str = ""
    #: Entity name to count masked, by direction: `request.EMAIL`, `response.EMAIL`.
    masked: dict[str, int] = Field(default_factory=dict)
    request_bytes: int = 0
    response_bytes: int = 0
    rows: int = 0
    #: Milliseconds from attempt to verdict, and from attempt to the last byte.
    decided_ms: float = 0
    total_ms: float = 0
    attributes: Json = Field(default_factory=dict)
    #: Only for requests that never became an attempt.
    refusal: Refusal | None = None


class ApprovalUsed(Event):
    """How the operation that people approved ended, for those who asked and those who approved."""

    type: Literal["ApprovalUsed"] = "ApprovalUsed"
    approval_id: Id
    operation_id: Id
    outcome: Outcome
    status: str = ""
    #: Ours, never upstream content.
    error: str = ""
    rows: int = 0
    response_bytes: int = 0
    total_ms: float = 0


class GrantRevoked(Event):
    """A person ended a time-boxed grant before its time."""

    type: Literal["GrantRevoked"] = "GrantRevoked"
    approval_id: Id
    operation_id: Id
    grant_id: str
    #: Identity key or e-mail address.
    revoked_by: str
    reason: str = ""


class ContentErased(Event):
    """Somebody had the recorded content of a session erased; published before its key is deleted."""

    type: Literal["ContentErased"] = "ContentErased"
    #: Who asked, in the words of whoever runs the command.
    by: str
    #: Whose data it was about, where sessions were found by their subject.
    subject: str = ""
    reason: str = ""


class SessionFrame(Event):
    """Masked bytes as they passed, at most `MAX_FRAME` of them; for replay."""

    type: Literal["SessionFrame"] = "SessionFrame"
    protocol: str
    operation_id: str = ""
    #: Counts from 1 within the session.
    seq: int
    direction: Literal["request", "response"]
    #: UTF-8 text, or Base64 when `encoding` says so.
    data: str
    encoding: Literal["utf-8", "base64"] = "utf-8"
    media_type: str = ""
    #: True when something was cut here, at the recording limit.
    truncated: bool = False


AnyEvent = (
    SessionOpened
    | SessionClosed
    | OperationAttempted
    | VerdictReached
    | ApprovalRequested
    | ApprovalResolved
    | ApprovalWithdrawn
    | ApprovalPreviewed
    | ApprovalUsed
    | OperationFinished
    | GrantRevoked
    | ContentErased
    | SessionFrame
)
