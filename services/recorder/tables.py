"""The tables of `migrations/*.sql` as the rows that `rows.py` builds for them: name, columns, order of writing.

Every table has `event_id`, which names an event for good: what was written under another deduplication token is found
by it (inserting.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, eq=False)
class Table:
    """One append-only table and the columns that rows bring, in their order. A key of dicts, by what it is."""

    name: str
    columns: tuple[str, ...]


#: What every typed table starts with; `rows.py` makes it from the event's common fields.
_COMMON: Final = ("stream_seq", "published_at", "event_id", "at", "ingress", "session_id", "traceparent")
_OPERATION: Final = ("started_at", "operation_id")
#: Sealed content (content.py); of what `events` holds, it stands in the typed table, once.
CONTENT: Final = "content"

EVENTS: Final = Table(
    "events",
    (
        "stream",
        "epoch",
        "stream_seq",
        "published_at",
        "subject",
        "type",
        "event_id",
        "at",
        "ingress",
        "ingress_seq",
        "session_id",
        "operation_id",
        "traceparent",
        "raw",
        "content_hash",
    ),
)

ATTEMPTS: Final = Table(
    "attempts",
    (
        *_COMMON,
        *_OPERATION,
        "subject",
        "issuer",
        "email",
        "groups",
        "kind",
        "owner",
        "connector",
        "protocol",
        "tags",
        "action",
        "resources",
        "statement",
        "method",
        "path",
        "query",
        "attributes",
        "size",
        "complete",
        "digest",
        "findings",
        "wait_seconds",
        "asked_approval_id",
        "caller_reason",
        "run",
        "peer",
        CONTENT,
    ),
)

VERDICTS: Final = Table(
    "verdicts",
    (
        *_COMMON,
        *_OPERATION,
        "by",
        "decision",
        "rules",
        "reason",
        "policy_version",
        "obligations",
        "approval_id",
        "approved_by",
        "certificate",
    ),
)

OUTCOMES: Final = Table(
    "outcomes",
    (
        *_COMMON,
        *_OPERATION,
        "connector",
        "protocol",
        "outcome",
        "presumed",
        "self_contained",
        "decision",
        "rules",
        "reason",
        "policy_version",
        "approval_id",
        "approved_by",
        "status",
        "error",
        "masked",
        "request_bytes",
        "response_bytes",
        "rows",
        "decided_ms",
        "total_ms",
        "attributes",
        "refused",
        "refusal_code",
        "refusal_connector",
        "action",
        "statement",
        "peer",
        "suppressed",
        "subject",
        "issuer",
        "email",
        "groups",
        "kind",
        CONTENT,
    ),
)

APPROVAL_REQUESTS: Final = Table(
    "approval_requests",
    (
        *_COMMON,
        "approval_id",
        "operation_id",
        "subject",
        "issuer",
        "email",
        "groups",
        "connector",
        "protocol",
        "action",
        "statement",
        "digest",
        "rules",
        "asked_groups",
        "quorum",
        "grant_seconds",
        "expires_at",
        "caller_reason",
        "policy_version",
        CONTENT,
    ),
)

APPROVAL_RESOLUTIONS: Final = Table(
    "approval_resolutions",
    (*_COMMON, "approval_id", "operation_id", "state", "decided_by", "reason", "grant_id", "break_glass"),
)
APPROVAL_WITHDRAWALS: Final = Table("approval_withdrawals", (*_COMMON, "approval_id", "operation_id", "reason"))

APPROVAL_PREVIEWS: Final = Table(
    "approval_previews", (*_COMMON, "approval_id", "operation_id", "estimated_rows", "counted_rows", "problem")
)

APPROVAL_USES: Final = Table(
    "approval_uses",
    (*_COMMON, "approval_id", "operation_id", "outcome", "status", "error", "rows", "response_bytes", "total_ms"),
)
GRANT_REVOCATIONS: Final = Table(
    "grant_revocations", (*_COMMON, "approval_id", "operation_id", "grant_id", "revoked_by", "reason")
)
ERASURES: Final = Table("erasures", (*_COMMON, "by", "subject", "reason"))
SESSION_STARTS: Final = Table("session_starts", (*_COMMON, "protocol", "peer", "tls"))
SESSION_ENDS: Final = Table("session_ends", (*_COMMON, "protocol", "operations", "reason"))

SESSION_FRAMES: Final = Table(
    "session_frames",
    (
        "stream",
        "epoch",
        "stream_seq",
        "published_at",
        "event_id",
        "at",
        "ingress",
        "ingress_seq",
        "session_id",
        "operation_id",
        "protocol",
        "seq",
        "direction",
        "media_type",
        "truncated",
        "subject",
        "raw",
        CONTENT,
    ),
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    ("stream", "epoch", "stream_seq", "published_at", "event_id", "subject", "reason", "raw", "at", CONTENT),
)

#: Written by keyring.py, before anything that is sealed by them.
SESSION_KEYS: Final = Table("session_keys", ("session_id", "stream", "key"))

#: A batch is written in this order. The tables with the raw bytes come last, so that an event that is in one of them
#: is in its typed table too; `resume.py` relies on it when the position is lost.
WRITING_ORDER: Final = (
    DEAD_LETTERS,
    ATTEMPTS,
    VERDICTS,
    OUTCOMES,
    APPROVAL_REQUESTS,
    APPROVAL_RESOLUTIONS,
    APPROVAL_WITHDRAWALS,
    APPROVAL_PREVIEWS,
    APPROVAL_USES,
    GRANT_REVOCATIONS,
    ERASURES,
    SESSION_STARTS,
    SESSION_ENDS,
    SESSION_FRAMES,
    EVENTS,
)

#: Typed tables of the audit stream whose rows carry sealed content.
WITH_CONTENT: Final = (ATTEMPTS, OUTCOMES, APPROVAL_REQUESTS)
#: Their columns for what is content, empty while `content` holds it.
CONTENT_COLUMNS: Final[Mapping[Table, tuple[str, ...]]] = {
    ATTEMPTS: ("statement", "path", "query", "attributes", "caller_reason", "resources"),
    OUTCOMES: ("statement",),
    APPROVAL_REQUESTS: ("statement", "caller_reason"),
}
