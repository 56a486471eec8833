"""The life of an approval: which move is legal in which state, and what it leads to.

    state            Approve              Deny    Expire   Withdraw   Spend
    requested        partly or approved   denied  expired  withdrawn  -
    partly_approved  partly or approved   denied  expired  withdrawn  -
    approved         -                    -       -        -          spent
    denied, expired, withdrawn, spent: none; they are final.

Approve: every requirement must reach its quorum of different people; until then the state is partly_approved. Deny:
one person who may decide is enough. Expire: only from `terms.expires_at` on, from which moment nobody may decide any
more. Withdraw: the caller is gone. Spend: ingress makes this move by compare-and-set (services/ingress/countersigned);
it stands here so that the model is whole. An approved question is not taken back: it is bound to one operation of one
identity, and its certificate expires.

Pure: `move` takes the record, what is to happen and the time, and returns the new record or why not.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.approvals import Reviewer, Step
from schemas.events import ApprovalState
from schemas.verdicts import ApprovalTerms
from services.approver.eligibility import may_decide, met, own_operation, same_person
from services.approver.record import Held


@dataclass(frozen=True)
class Approve:
    """A person says yes; with `grant_seconds`, also to the same for that long."""

    by: Reviewer
    grant_seconds: float = 0
    #: The `owner` claim of the token they decide with.
    owner: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Deny:
    """A person says no."""

    by: Reviewer
    reason: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Expire:
    """Nobody decided in time."""


@dataclass(frozen=True)
class Withdraw:
    """The caller does not wait any more."""

    reason: str


@dataclass(frozen=True)
class Spend:
    """The one operation goes ahead."""

    operation_id: str
    ingress: str


Action = Approve | Deny | Expire | Withdraw | Spend


class Why(StrEnum):
    """Why a move was refused. Stable: metrics count by it."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    ALREADY_DECIDED = "already_decided"
    NOT_ALLOWED = "not_allowed"
    OWN_OPERATION = "own_operation"
    SAME_PERSON_TWICE = "same_person_twice"
    NO_SUCH_GRANT = "no_such_grant"
    NOT_DUE = "not_due"


@dataclass(frozen=True)
class Refusal:
    """A move that is not made, and the words for the person who tried."""

    why: Why
    words: str


def move(record: Held, action: Action, now: datetime) -> Held | Refusal:
    """The record after the action, or why it is refused."""
    match action:
        case Approve() | Deny():
            return refused(record, action, now) or _decide(record, action, now)
        case Expire():
            return _expire(record, now)
        case Withdraw(reason):
            return _close(record, ApprovalState.WITHDRAWN, now, reason=reason) if record.open else _decided(record)
        case Spend():
            return _spend(record, action, now)


def refused(record: Held, action: Approve | Deny, now: datetime) -> Refusal | None:
    """Why this person cannot decide this now, or None when they can."""
    if not record.open:
        return _decided(record)
    if now >= record.request.terms.expires_at:
        return Refusal(Why.EXPIRED, "This request has expired; nothing was done. The caller has to ask again.")
    if own_operation(record.request.identity, action.by, action.owner):
        return Refusal(Why.OWN_OPERATION, "This is your own operation, or your service account's; others decide.")
    if not may_decide(action.by, record.request.terms):
        return Refusal(Why.NOT_ALLOWED, f"Only members of {groups_asked(record.request.terms)} decide on this.")
    return _refused_approval(record, action) if isinstance(action, Approve) else None


def grant_limit(terms: ApprovalTerms) -> float:
    """The longest grant a yes can give, in seconds. Several rules together grant nothing: 0."""
    return terms.grant_seconds if len(terms.requirements) == 1 else 0


def groups_asked(terms: ApprovalTerms) -> str:
    """`dba` or `dba, security`."""
    return ", ".join(dict.fromkeys(group for requirement in terms.requirements for group in requirement.by)) or "nobody"


def _refused_approval(record: Held, action: Approve) -> Refusal | None:
    if any(same_person(action.by, other) for other in record.approved_by):
        return Refusal(Why.SAME_PERSON_TWICE, "You have approved this already; it needs somebody else, too.")
    if action.grant_seconds > grant_limit(record.request.terms):
        return Refusal(Why.NO_SUCH_GRANT, "The rule does not allow a grant of that length; approve it once instead.")
    return None


def _decide(record: Held, action: Approve | Deny, now: datetime) -> Held:
    if isinstance(action, Deny):
        return _close(record, ApprovalState.DENIED, now, by=action.by.label, reason=action.reason)
    approved_by = (*record.approved_by, action.by)
    # A grant is as long as the most careful of those who approve has it.
    seconds = min(record.grant_seconds, action.grant_seconds) if record.approved_by else action.grant_seconds
    given = record.model_copy(update={"approved_by": approved_by, "grant_seconds": seconds})
    if all(met(requirement, approved_by) for requirement in record.request.terms.requirements):
        people = ", ".join(reviewer.label for reviewer in approved_by)
        approved = given.model_copy(update={"decided_by": people, "reason": action.reason})
        return _step(approved, ApprovalState.APPROVED, now, action.by.label, action.reason)
    return _step(given, ApprovalState.PARTLY_APPROVED, now, action.by.label, action.reason)


def _expire(record: Held, now: datetime) -> Held | Refusal:
    if not record.open:
        return _decided(record)
    if now < record.request.terms.expires_at:
        return Refusal(Why.NOT_DUE, "This request has not expired yet.")
    return _close(record, ApprovalState.EXPIRED, now, reason="nobody decided in time")


def _spend(record: Held, action: Spend, now: datetime) -> Held | Refusal:
    if record.state is not ApprovalState.APPROVED:
        return _decided(record)
    if now >= record.request.terms.expires_at:
        return Refusal(Why.EXPIRED, "The approval has expired.")
    spent = record.model_copy(update={"spent_by": action.operation_id})
    return _step(spent, ApprovalState.SPENT, now, action.ingress, "")


def _close(record: Held, state: ApprovalState, now: datetime, *, by: str = "", reason: str = "") -> Held:
    return _step(record.model_copy(update={"decided_by": by, "reason": reason}), state, now, by, reason)


def _step(record: Held, state: ApprovalState, now: datetime, by: str, reason: str) -> Held:
    step = Step(at=now, state=state, by=by, reason=reason)
    return record.model_copy(update={"state": state, "history": (*record.history, step)})


def _decided(record: Held) -> Refusal:
    match record.state:
        case ApprovalState.EXPIRED:
            return Refusal(Why.EXPIRED, "This request has expired; nothing was done. The caller has to ask again.")
        case ApprovalState.WITHDRAWN:
            return Refusal(Why.ALREADY_DECIDED, "The caller has withdrawn this request; nothing was done.")
        case ApprovalState.REQUESTED | ApprovalState.PARTLY_APPROVED:
            return Refusal(Why.NOT_DUE, "This request has not been decided yet.")
        case _:
            by = f" by {record.decided_by}" if record.decided_by else ""
            return Refusal(Why.ALREADY_DECIDED, f"This was {record.resolution}{by} before; your click changed nothing.")
