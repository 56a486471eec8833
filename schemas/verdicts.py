"""What policy answers, and under which conditions. Used by policy, approver and ingress alike."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from schemas.base import Contract, Moment, Name


class Decision(StrEnum):
    """Ordered by strength: deny beats hold beats allow (architecture, section 6)."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class MaskObligation(Contract):
    """What must be masked; entity or set names (`secrets`, `pii`, `financial`, `EMAIL`, …)."""

    request: tuple[str, ...] = ()
    response: tuple[str, ...] = ()
    #: `table.column` or `schema.table.column`.
    columns: tuple[str, ...] = ()
    #: JSONPath-like: `$.customer.ssn`, `$.items[*].card`.
    fields: tuple[str, ...] = ()
    style: Literal["label", "partial", "hash", "token"] = "label"
    #: Turn this gateway's own tokens back into values on the way to this upstream.
    restore: bool = False
    #: What to do with content that cannot be masked because it is not text.
    binary: Literal["refuse", "pass"] = "refuse"

    @property
    def empty(self) -> bool:
        """True when nothing is to be masked or restored."""
        return not (self.request or self.response or self.columns or self.fields or self.restore)


class Limit(Contract):
    """Bounds on what comes back; the smallest of all matching rules counts."""

    rows: int | None = Field(default=None, ge=0)


Record = Literal["full", "metadata", "none"]


class Obligations(Contract):
    """Conditions of an allow; they add up over all rules that matched."""

    mask: MaskObligation = MaskObligation()
    limit: Limit = Limit()
    record: Record = "full"


class Share(Contract):
    """So many different people of one group."""

    group: str
    people: int = Field(default=1, ge=1)


class Escalation(Contract):
    """Whom a rule asks as well when nobody has decided `after` seconds from the request."""

    after: float = Field(gt=0)
    to: tuple[str, ...] = Field(min_length=1)


class Requirement(Contract):
    """One rule's demand: `quorum` different people, each in one of the groups `by`, and the `shares` besides.

    `match` says how many of the shares must be full: one (`any`) or each (`all`); without shares the quorum is all.
    One person who is in several groups counts for each of them, and once for the quorum.
    """

    rule: Name
    #: Every group that is asked from the start.
    by: tuple[str, ...]
    quorum: int = Field(default=1, ge=1)
    match: Literal["any", "all"] = "any"
    shares: tuple[Share, ...] = ()
    escalation: Escalation | None = None
    #: Groups of which one person, with a reason, may let the operation through alone.
    break_glass: tuple[str, ...] = ()


class ApprovalTerms(Contract):
    """Who has to say yes, and what their yes can cover; from the `approve` of every rule that matched.

    Every requirement must be met; one person may count for several. With more than one there is no grant.
    """

    requirements: tuple[Requirement, ...] = Field(min_length=1)
    expires_at: Moment
    #: Longest time-boxed grant an approver may give, in seconds; 0 allows none.
    grant_seconds: float = 0
    #: How often a grant may be used; 0 for as often as its window allows.
    max_uses: int = Field(default=0, ge=0)
    #: Slack channel of the rule, or empty for the configured one.
    slack: str = ""
    #: Further addresses of the rule that get the mail; who may decide stays what the groups say.
    email: tuple[str, ...] = ()
    #: Name of the rule's webhook in the settings, or empty for every one.
    webhook: str = ""
    #: What ingress finds out before people are asked: nothing, the planner's estimate, or an exact count as well.
    preview: Literal["none", "estimate", "count"] = "none"


class Verdict(Contract):
    """A decision with all that follows from it."""

    decision: Decision
    #: Names of the rules that decided, in the policy's order; empty when nothing matched.
    rules: tuple[Name, ...] = ()
    #: The words shown to the agent.
    reason: str = ""
    policy_version: str = ""
    obligations: Obligations = Obligations()
    #: With a hold: the question put to people.
    approval_id: str | None = None
    terms: ApprovalTerms | None = None
    #: With an allow that rests on people: the signed certificate (schemas/certificates.py), as compact JWS.
    certificate: str | None = None
    #: Who approved, as shown to auditors.
    approved_by: tuple[str, ...] = ()
