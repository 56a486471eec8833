"""What the `approvals` and `grants` buckets hold, and the approver's request-reply API.

The bucket's entry is the truth about an approval; events tell the story of it. Every step is written with
compare-and-set on the entry's revision, and appends to `history`.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from schemas.base import Contract, Id, Moment, Name
from schemas.events import ApprovalRequested, ApprovalState, Outcome
from schemas.verdicts import Requirement


class Reviewer(Contract):
    """A person who decides: from a verified token, or a verified Slack e-mail address mapped to `identity.people`."""

    issuer: str
    subject: str
    email: str = ""
    groups: tuple[str, ...] = ()
    #: Whose service account it is: the `owner` claim of the token. It counts as that person.
    owner: str = ""
    #: Where the decision came from.
    via: Literal["slack", "cli", "email", "webhook"] = "cli"

    @property
    def label(self) -> str:
        """How people and auditors know them: e-mail address, else subject."""
        return self.email or self.subject


class Step(Contract):
    """One move of the state machine."""

    at: Moment
    #: The state after it.
    state: ApprovalState
    by: str = ""
    reason: str = ""
    #: What happened when that is not the state's own name: `reminded`, `escalated`, `break_glass`.
    what: str = ""


class MessageRef(Contract):
    """Where a channel shows the question, so that it can be updated: in Slack the channel's id and the message's `ts`.

    An empty `ts` is the intent to post: written before the channel is asked.
    """

    channel: str
    ts: str


class Preview(Contract):
    """The blast radius (ApprovalPreviewed), as people are shown it."""

    at: Moment
    estimated_rows: int | None = None
    counted_rows: int | None = None
    problem: str = ""


class Use(Contract):
    """How the approved operation ended (ApprovalUsed)."""

    at: Moment
    operation_id: Id
    outcome: Outcome
    status: str = ""
    error: str = ""
    rows: int = 0
    response_bytes: int = 0
    total_ms: float = 0


class Notice(Contract):
    """Something that channels have to tell people beside the question: each channel once, whichever copy does it."""

    kind: Literal["reminder", "escalated", "break_glass"]
    at: Moment
    #: Whom it calls: the groups still needed, those escalated to, or those who have to know.
    groups: tuple[str, ...] = ()
    #: The rule, where it is about one.
    rule: str = ""
    #: Channel to the moment until which one copy is busy telling it there.
    claimed: dict[str, Moment] = Field(default_factory=dict)
    #: Channels that have told it.
    told: tuple[str, ...] = ()
    #: Every channel has, or it is too late to matter.
    done: bool = False


class ApprovalRecord(Contract):
    """One approval, whole.

    Ingress and approver both read, change and write it: a field that one of them does not know yet is kept.
    """

    model_config = ConfigDict(extra="allow")

    request: ApprovalRequested
    state: ApprovalState = ApprovalState.REQUESTED
    approved_by: tuple[Reviewer, ...] = ()
    decided_by: str = ""
    reason: str = ""
    #: One person let it through in an emergency.
    break_glass: bool = False
    #: Rules whose escalation is on: their `escalation.to` decides as well.
    escalated: tuple[Name, ...] = ()
    #: Signed when the quorum is reached (schemas/certificates.py).
    certificate: str | None = None
    grant_id: str | None = None
    #: Seconds of the time-boxed grant that everybody who has approved so far agreed to; 0 for "this once".
    grant_seconds: float = Field(default=0, ge=0)
    #: True once ApprovalResolved and the verdict for `state` are published; else any approver does it again.
    announced: bool = False
    #: False once an ingress that goes down has told the caller to come back: its end withdraws nothing then.
    awaited: bool = True
    #: The operation that used it.
    spent_by: Id | None = None
    preview: Preview | None = None
    use: Use | None = None
    #: Channel name (`slack`), or channel name and purpose (`slack.dm`), to where it shows the question.
    messages: dict[str, MessageRef] = Field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    history: tuple[Step, ...] = ()


class Grant(Contract):
    """`Approve for 1 h`: one identity, one rule, one connector, until a moment or a number of uses."""

    grant_id: Id
    approval_id: Id
    issuer: str
    subject: str
    rule: Name
    connector: Name
    policy_version: str
    approved_by: str
    given_at: Moment | None = None
    expires_at: Moment
    #: 0 for as often as the window allows; ingress counts under `uses_key`, and checks the certificate's number.
    max_uses: int = Field(default=0, ge=0)
    #: Groups whose members may revoke it: those who were asked.
    by: tuple[str, ...] = ()
    certificate: str


class GrantUses(Contract):
    """How often a grant was used; in the `grants` bucket beside it, for ingress may count but not give grants."""

    uses: int = Field(default=0, ge=0)


#: Ends the key that counts a grant's uses.
USES = ".uses"


def uses_key(grant_id: str) -> str:
    """Where the uses of a grant are counted in the `grants` bucket."""
    return f"{grant_id}{USES}"


class ApprovalQuery(Contract):
    """Request on `cs.api.approver`: what a reviewer (or the waiting caller) wants. Their token is in a header."""

    do: Literal["list", "get", "approve", "deny", "break_glass", "grants", "revoke"]
    approval_id: Id | None = None
    grant_id: Id | None = None
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
    #: Header fields that the approval covers, `name: value`, masked.
    fields: tuple[str, ...] = ()
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
    max_uses: int = 0
    #: Who is still needed, or how it ended, in words.
    detail: str = ""
    break_glass: bool = False
    escalated: tuple[str, ...] = ()
    preview: Preview | None = None
    use: Use | None = None
    history: tuple[Step, ...] = ()


class GrantView(Contract):
    """What a reviewer or the grant's holder may see of it."""

    grant_id: Id
    approval_id: Id
    issuer: str
    subject: str
    rule: str
    connector: str
    approved_by: str
    given_at: Moment | None = None
    expires_at: Moment
    max_uses: int = 0
    uses: int = 0
    #: What it covers, in a sentence.
    scope: str = ""


class ApprovalReply(Contract):
    """Answer on `cs.api.approver`; `status` is an HTTP status, for ingress to hand on."""

    status: int
    detail: str = ""
    approvals: tuple[ApprovalView, ...] = ()
    grants: tuple[GrantView, ...] = ()
