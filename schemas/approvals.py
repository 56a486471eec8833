"""What the `approvals` and `grants` buckets hold, and the approver's request-reply API.

The bucket's entry is the truth about an approval; events tell the story of it. Every step is written with
compare-and-set on the entry's revision, and appends to `history`.
"""

from typing import Literal

from pydantic import Field

from schemas.base import Contract, Id, Moment, Name
from schemas.events import ApprovalRequested, ApprovalState
from schemas.verdicts import Requirement


class Reviewer(Contract):
    """A person who decides: from a verified token, or a verified Slack e-mail address mapped to `identity.people`."""

    issuer: str
    subject: str
    email: str = ""
    groups: tuple[str, ...] = ()
    #: Where the decision came from.
    via: Literal["slack", "cli", "email", "webhook"] = "cli"

    @property
    def label(self) -> str:
        """How people and auditors know them: e-mail address, else subject."""
        return self.email or self.subject


class Step(Contract):
    """One move of the state machine."""

    at: Moment
    state: ApprovalState
    by: str = ""
    reason: str = ""


class MessageRef(Contract):
    """A posted question, so that it can be updated: channel id and `ts` in Slack."""

    channel: str
    ts: str


class ApprovalRecord(Contract):
    """One approval, whole."""

    request: ApprovalRequested
    state: ApprovalState = ApprovalState.REQUESTED
    approved_by: tuple[Reviewer, ...] = ()
    decided_by: str = ""
    reason: str = ""
    #: Signed when the quorum is reached (schemas/certificates.py).
    certificate: str | None = None
    grant_id: str | None = None
    #: True once ApprovalResolved and the verdict for `state` are published; else any approver does it again.
    announced: bool = False
    #: The operation that used it.
    spent_by: Id | None = None
    message: MessageRef | None = None
    history: tuple[Step, ...] = ()


class Grant(Contract):
    """`Approve for 1 h`: one identity, one rule, one connector, until a moment."""

    grant_id: Id
    approval_id: Id
    issuer: str
    subject: str
    rule: Name
    connector: Name
    policy_version: str
    approved_by: str
    expires_at: Moment
    certificate: str


class ApprovalQuery(Contract):
    """Request on `cs.api.approver`: what a reviewer (or the waiting caller) wants. Their token is in a header."""

    do: Literal["list", "get", "approve", "deny"]
    approval_id: Id | None = None
    reason: str = Field(default="", max_length=2000)
    #: With approve: also grant this many seconds, within the rule's limit.
    grant_seconds: float = Field(default=0, ge=0)


class ApprovalView(Contract):
    """What a reviewer or caller may see of an approval."""

    approval_id: Id
    operation_id: Id
    state: ApprovalState
    subject: str
    email: str = ""
    groups: tuple[str, ...] = ()
    connector: str
    action: str
    resources: tuple[str, ...] = ()
    method: str = ""
    path: str = ""
    statement: str = ""
    digest: str
    requirements: tuple[Requirement, ...]
    approved_by: tuple[str, ...] = ()
    decided_by: str = ""
    reason: str = ""
    caller_reason: str = ""
    requested_at: Moment
    expires_at: Moment
    grant_seconds: float = 0


class ApprovalReply(Contract):
    """Answer on `cs.api.approver`; `status` is an HTTP status, for ingress to hand on."""

    status: int
    detail: str = ""
    approvals: tuple[ApprovalView, ...] = ()
