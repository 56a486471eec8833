"""NATS subjects, streams and buckets: their only home.

Every token that comes from outside (connector, operation, ingress) has been validated by the type that carries it
(schemas/base.py): none can hold a dot, a wildcard or a space.
"""

from schemas.events import (
    ApprovalPreviewed,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalUsed,
    ApprovalWithdrawn,
    ContentErased,
    Event,
    GrantRevoked,
    OperationAttempted,
    OperationFinished,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    VerdictReached,
)

ATTEMPTS = "cs.attempt.>"
VERDICTS = "cs.verdict.>"
#: NATS lets each speak on its own subjects only: what people decided is said one token deeper than what policy did.
VERDICTS_OF_POLICY = "cs.verdict.*.*"
VERDICTS_OF_PEOPLE = "cs.verdict.*.*.people"
APPROVALS = "cs.approval.>"
APPROVALS_REQUESTED = "cs.approval.requested.>"
APPROVALS_RESOLVED = "cs.approval.resolved.>"
APPROVALS_WITHDRAWN = "cs.approval.withdrawn.>"
APPROVALS_PREVIEWED = "cs.approval.previewed.>"
APPROVALS_USED = "cs.approval.used.>"
APPROVALS_REVOKED = "cs.approval.revoked.>"
OUTCOMES = "cs.outcome.>"
SESSIONS = "cs.session.>"
ERASURES = "cs.erasure.>"
FRAMES = "cs.frame.>"

#: Request and reply with the approver, on behalf of a reviewer who shows their own token. Never in a stream.
APPROVER_API = "cs.api.approver"
#: Streams: AUDIT holds every event but frames, RECORDING the frames.
AUDIT_STREAM = "AUDIT"
RECORDING_STREAM = "RECORDING"
AUDIT_SUBJECTS = (ATTEMPTS, VERDICTS, APPROVALS, OUTCOMES, SESSIONS, ERASURES)
RECORDING_SUBJECTS = (FRAMES,)

#: Queue group of the policy copies.
POLICY_QUEUE = "policy"
#: Queue group of the approver copies on their request-reply API.
APPROVER_QUEUE = "approver"

#: Key-value buckets.
APPROVALS_BUCKET = "approvals"
GRANTS_BUCKET = "grants"
POLICY_BUCKET = "policy"
#: What a change of a grant is published on (not of its count, which has one token more).
GRANTS_CHANGED = f"$KV.{GRANTS_BUCKET}.*"
#: Where ingress counts the uses of grants (schemas/approvals.uses_key).
GRANT_USES = f"$KV.{GRANTS_BUCKET}.*.uses"
#: One key per live ingress, with a time to live: its absence closes what it left open.
INGRESSES_BUCKET = "ingresses"
#: The recorders' write position (services/recorder/position.py).
RECORDER_BUCKET = "recorder"

#: What placeholders stand for, encrypted (services/ingress/vault.py).
VAULT_BUCKET = "vault"

#: What the approvers' channels have sent and heard where the other side cannot tell (services/approver/once.py).
DELIVERIES_BUCKET = "deliveries"

#: The key of the policy in force in POLICY_BUCKET.
POLICY_KEY = "current"

#: Header of a reviewer's token on APPROVER_API requests.
REVIEWER_TOKEN_HEADER = "Countersign-Reviewer-Token"  # noqa: S105 - a header's name


#: An approval's events are told apart by what happened to it.
_STEPS: dict[type[Event], str] = {
    ApprovalRequested: "requested",
    ApprovalResolved: "resolved",
    ApprovalWithdrawn: "withdrawn",
    ApprovalPreviewed: "previewed",
    ApprovalUsed: "used",
    GrantRevoked: "revoked",
}


def verdict(ingress: str, operation_id: str, by: str = "policy") -> str:
    """Where a verdict for one operation of one ingress is published; `by` is `policy` or `approver`."""
    return f"cs.verdict.{ingress}.{operation_id}" + (".people" if by == "approver" else "")


def verdicts_of(ingress: str) -> str:
    """All verdicts for one ingress."""
    return f"cs.verdict.{ingress}.>"


def of(event: Event) -> str:
    """The subject an event is published on.

    Raises TypeError for a class that has none.
    """
    match event:
        case OperationAttempted():
            return f"cs.attempt.{event.connector.protocol}.{event.connector.name}"
        case VerdictReached():
            return verdict(event.ingress, event.operation_id, event.by)
        case OperationFinished():
            return f"cs.outcome.{event.protocol}.{event.connector}"
        case SessionFrame():
            return f"cs.frame.{event.protocol}.{event.session_id}"
        case SessionOpened():
            return f"cs.session.opened.{event.protocol}"
        case ContentErased():
            return f"cs.erasure.{event.session_id}"
        case SessionClosed():
            return f"cs.session.closed.{event.protocol}"
        case (
            ApprovalRequested()
            | ApprovalResolved()
            | ApprovalWithdrawn()
            | ApprovalPreviewed()
            | ApprovalUsed()
            | GrantRevoked()
        ):
            return f"cs.approval.{_STEPS[type(event)]}.{event.approval_id}"
        case _:
            raise TypeError(f"{type(event).__name__} has no subject")
