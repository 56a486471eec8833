"""The life of an approval: which move is legal in which state, and what it leads to.

    state            Approve             BreakGlass  Deny    Expire   Withdraw   Spend   Escalate, Remind
    requested        partly or approved  approved    denied  expired  withdrawn  -       requested
    partly_approved  partly or approved  approved    denied  expired  withdrawn  -       partly_approved
    approved         -                   -           -       -        -          spent   -
    denied, expired, withdrawn, spent: none; they are final.

Approve: every requirement must be met by different people; until then the state is partly_approved. BreakGlass: one
person of the groups that each unmet rule names for emergencies, with a reason; everybody concerned is told. Deny: one
person who may decide is enough. Expire: only from `terms.expires_at` on, from which moment nobody may decide any more.
Withdraw: the caller is gone. Escalate: once for each rule, from its time on; Remind: at its times (`timing`).
Spend: ingress makes this move by compare-and-set (services/ingress/countersigned); it stands here so that the model
is whole. An approved question is not taken back: it is bound to one operation, and its certificate expires.

Previewed and Used are noted in any state, once; they change none. Nobody decides on their own operation, whatever the
move. Pure: `move` takes the record, what is to happen and the time, and returns the new record or why not.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.approvals import Notice, Preview, Reviewer, Step, Use
from schemas.events import ApprovalState
from schemas.verdicts import ApprovalTerms
from services.approver import timing
from services.approver.eligibility import may_break_glass, may_decide, met, own_operation, same_person
from services.approver.needed import groups_concerned, groups_needed
from services.approver.record import Held


@dataclass(frozen=True)
class Approve:
    """A person says yes; with `grant_seconds`, also to the same for that long."""

    by: Reviewer
    grant_seconds: float = 0
    reason: str = ""


@dataclass(frozen=True)
class BreakGlass:
    """A person lets it through alone, in an emergency."""

    by: Reviewer
    reason: str


@dataclass(frozen=True)
class Deny:
    """A person says no."""

    by: Reviewer
    reason: str = ""


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


@dataclass(frozen=True)
class Escalate:
    """It is time to ask others, too."""


@dataclass(frozen=True)
class Remind:
    """It is time to call people again."""


@dataclass(frozen=True)
class Previewed:
    """What the operation would change is known."""

    preview: Preview


@dataclass(frozen=True)
class Used:
    """How the operation ended is known."""

    use: Use


#: What people do.
Decision = Approve | BreakGlass | Deny
Action = Decision | Expire | Withdraw | Spend | Escalate | Remind | Previewed | Used


class Why(StrEnum):
    """Why a move was refused. Stable: metrics count by it."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    ALREADY_DECIDED = "already_decided"
    NOT_ALLOWED = "not_allowed"
    OWN_OPERATION = "own_operation"
    SAME_PERSON_TWICE = "same_person_twice"
    NO_SUCH_GRANT = "no_such_grant"
    NO_REASON = "no_reason"
    NOT_DUE = "not_due"


@dataclass(frozen=True)
class Refusal:
    """A move that is not made, and the words for the person who tried."""

    why: Why
    words: str


def move(record: Held, action: Action, now: datetime) -> Held | Refusal:
    """The record after the action, or why it is refused."""
    match action:
        case Approve() | Deny() | BreakGlass():
            return refused(record, action, now) or _decide(record, action, now)
        case Expire():
            return _expire(record, now)
        case Withdraw(reason):
            return _close(record, ApprovalState.WITHDRAWN, now, reason=reason) if record.open else _decided(record)
        case Spend():
            return _spend(record, action, now)
        case Escalate():
            return _escalate(record, now)
        case Remind():
            return _remind(record, now)
        case Previewed(preview):
            return record if record.preview else record.model_copy(update={"preview": preview})
        case Used(use):
            return _used(record, use)


def refused(record: Held, action: Decision, now: datetime) -> Refusal | None:
    """Why this person cannot decide this now, or None when they can."""
    if not record.open:
        return _decided(record)
    if now >= record.request.terms.expires_at:
        return Refusal(Why.EXPIRED, "This request has expired; nothing was done. The caller has to ask again.")
    if own_operation(record.request.identity, action.by):
        return Refusal(Why.OWN_OPERATION, "This is your own operation, or your service account's; others decide.")
    if isinstance(action, BreakGlass):
        return _refused_emergency(record, action)
    if not may_decide(action.by, record.request.terms, record.escalated):
        return Refusal(Why.NOT_ALLOWED, f"Only members of {', '.join(_deciding(record))} decide on this.")
    return _refused_approval(record, action) if isinstance(action, Approve) else None


def grant_limit(terms: ApprovalTerms) -> float:
    """The longest grant a yes can give, in seconds. Several rules together grant nothing: 0."""
    return terms.grant_seconds if len(terms.requirements) == 1 else 0


def _deciding(record: Held) -> tuple[str, ...]:
    return groups_needed(record) or ("nobody",)


def _refused_approval(record: Held, action: Approve) -> Refusal | None:
    if any(same_person(action.by, other) for other in record.approved_by):
        return Refusal(Why.SAME_PERSON_TWICE, "You have approved this already; it needs somebody else, too.")
    if action.grant_seconds > grant_limit(record.request.terms):
        return Refusal(Why.NO_SUCH_GRANT, "The rule does not allow a grant of that length; approve it once instead.")
    return None


def _refused_emergency(record: Held, action: BreakGlass) -> Refusal | None:
    if not may_break_glass(action.by, record.request.terms, record.approved_by, record.escalated):
        return Refusal(Why.NOT_ALLOWED, "The rule does not name you for emergencies.")
    if not action.reason.strip():
        return Refusal(Why.NO_REASON, "Say why this cannot wait for the others: an emergency needs a reason.")
    return None


def _decide(record: Held, action: Decision, now: datetime) -> Held:
    match action:
        case Deny(by, reason):
            return _close(record, ApprovalState.DENIED, now, by=by.label, reason=reason)
        case BreakGlass():
            return _break_glass(record, action, now)
        case Approve():
            return _approve(record, action, now)


def _approve(record: Held, action: Approve, now: datetime) -> Held:
    approved_by = (*record.approved_by, action.by)
    # A grant is as long as the most careful of those who approve has it.
    seconds = min(record.grant_seconds, action.grant_seconds) if record.approved_by else action.grant_seconds
    given = record.model_copy(update={"approved_by": approved_by, "grant_seconds": seconds})
    if all(met(requirement, approved_by, record.escalated) for requirement in record.request.terms.requirements):
        people = ", ".join(reviewer.label for reviewer in approved_by)
        approved = given.model_copy(update={"decided_by": people, "reason": action.reason})
        return _step(approved, ApprovalState.APPROVED, now, action.by.label, action.reason)
    return _step(given, ApprovalState.PARTLY_APPROVED, now, action.by.label, action.reason)


def _break_glass(record: Held, action: BreakGlass, now: datetime) -> Held:
    """Approved by one, once and without a grant, and said aloud to everybody who has a say."""
    others = tuple(other for other in record.approved_by if not same_person(other, action.by))
    notice = Notice(kind="break_glass", at=now, groups=tuple(sorted(groups_concerned(record.request.terms))))
    approved = record.model_copy(
        update={
            "approved_by": (*others, action.by),
            "decided_by": action.by.label,
            "reason": action.reason.strip(),
            "break_glass": True,
            "grant_seconds": 0.0,
            "notices": (*record.notices, notice),
        }
    )
    return _step(approved, ApprovalState.APPROVED, now, action.by.label, action.reason.strip(), "break_glass")


def _expire(record: Held, now: datetime) -> Held | Refusal:
    if not record.open:
        return _decided(record)
    if now < record.request.terms.expires_at:
        return Refusal(Why.NOT_DUE, "This request has not expired yet.")
    return _close(record, ApprovalState.EXPIRED, now, reason="nobody decided in time")


def _escalate(record: Held, now: datetime) -> Held | Refusal:
    if not record.open:
        return _decided(record)
    due = timing.escalations_due(record, now)
    if not due or now >= record.request.terms.expires_at:
        return Refusal(Why.NOT_DUE, "Nobody else is to be asked now.")
    for rule in due:
        assert rule.escalation
        notice = Notice(kind="escalated", at=now, groups=rule.escalation.to, rule=rule.rule)
        record = record.model_copy(
            update={"escalated": (*record.escalated, rule.rule), "notices": (*record.notices, notice)}
        )
        words = f"{rule.rule}: not decided in time, now {', '.join(rule.escalation.to)} may, too"
        record = _step(record, record.state, now, "", words, "escalated")
    return record


def _remind(record: Held, now: datetime) -> Held | Refusal:
    if not record.open:
        return _decided(record)
    if not timing.reminder_due(record, now) or now >= record.request.terms.expires_at:
        return Refusal(Why.NOT_DUE, "People were reminded already.")
    notice = Notice(kind="reminder", at=now, groups=groups_needed(record))
    return _step(
        record.model_copy(update={"notices": (*record.notices, notice)}), record.state, now, "", "", "reminded"
    )


def _spend(record: Held, action: Spend, now: datetime) -> Held | Refusal:
    if record.state is not ApprovalState.APPROVED:
        return _decided(record)
    if now >= record.request.terms.expires_at:
        return Refusal(Why.EXPIRED, "The approval has expired.")
    spent = record.model_copy(update={"spent_by": action.operation_id})
    return _step(spent, ApprovalState.SPENT, now, action.ingress, "")


def _used(record: Held, use: Use) -> Held | Refusal:
    """Only the operation that spent it can say how it ended."""
    if record.use:
        return record
    if record.spent_by is None:
        return Refusal(Why.NOT_DUE, "Nothing has used this approval yet.")
    if record.spent_by != use.operation_id:
        return Refusal(Why.NOT_ALLOWED, "Another operation used this approval.")
    return record.model_copy(update={"use": use})


def _close(record: Held, state: ApprovalState, now: datetime, *, by: str = "", reason: str = "") -> Held:
    return _step(record.model_copy(update={"decided_by": by, "reason": reason}), state, now, by, reason)


def _step(record: Held, state: ApprovalState, now: datetime, by: str, reason: str, what: str = "") -> Held:
    step = Step(at=now, state=state, by=by, reason=reason, what=what)
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
