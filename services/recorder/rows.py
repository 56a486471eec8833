"""From a message to rows: the exact bytes into `events` (frames: `session_frames`), what they say into a typed table.

Pure, and a function of the message alone: the same message always gives the same rows, whoever writes them and
whenever. What cannot be read becomes a dead letter, with its reason; it never stops the stream.
Content (content.py) stands apart from the bytes, in the column `content`, and is in the clear here: sealing.py is next.
Times are integers, in the unit of their column (microseconds; `started_at` and `expires_at` milliseconds).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

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
    Outcome,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    VerdictReached,
)
from services.recorder import approval_rows
from services.recorder import tables as t
from services.recorder.batch import Delivery
from services.recorder.content import Cut, cut
from services.recorder.row_values import NOBODY, NotAnEvent, Row, as_json, count, counts, microseconds, of_identity
from services.recorder.tables import Table

Rows = dict[Table, list[Row]]

#: A reason is for people; pydantic's can be as long as the input.
_MAX_REASON: Final = 500


def build(deliveries: Iterable[Delivery], stream: str, epoch: int, *, parted: bool = True) -> Rows:
    """Rows per table for these messages, in stream order; with content in them, as once, where not `parted`."""
    rows: Rows = defaultdict(list)
    for delivery in deliveries:
        try:
            made = _made_from(delivery, stream, epoch, parted)
        except NotAnEvent as error:
            made = ((t.DEAD_LETTERS, dead_letter(delivery, stream, epoch, str(error))),)
        for table, row in made:
            rows[table].append(row)
    return rows


def dead_letter(delivery: Delivery, stream: str, epoch: int, reason: str) -> Row:
    """A row of `dead_letters`. Its `event_id` is made from the message, because the message has none we can read."""
    at = str(delivery.published_at).encode()
    name = hashlib.sha256(b"\0".join((delivery.subject.encode(), at, delivery.data))).hexdigest()
    return (
        stream,
        epoch,
        delivery.seq,
        delivery.published_at,
        f"dead-{name[:32]}",
        delivery.subject,
        " ".join(reason.split())[:_MAX_REASON],
        b"",
        delivery.published_at,
        delivery.data,
    )


def started_at(operation_id: str) -> int:
    """The moment in a UUIDv7 (RFC 9562, section 5.7), in milliseconds; 0 for an id of another kind."""
    if operation_id[14:15] != "7":
        return 0
    return int(operation_id[:8] + operation_id[9:13], 16)


def kind_of(subject: str) -> str:
    """The class of event that is published on a subject. Raises NotAnEvent."""
    return _kind(subject)[0].__name__


def table_of(subject: str) -> Table:
    """The typed table of events on a subject. Raises NotAnEvent."""
    return _kind(subject)[1]


def _made_from(delivery: Delivery, stream: str, epoch: int, parted: bool) -> tuple[tuple[Table, Row], ...]:
    kind, table, fields = _kind(delivery.subject)
    try:
        event = kind.model_validate_json(delivery.data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the message"
        raise NotAnEvent(f"not a {kind.__name__}: {where}: {first['msg']}") from None
    at = microseconds(event.at)
    parts = cut(delivery.data, kind.__name__) if parted else Cut(delivery.data, b"")
    if isinstance(event, SessionFrame):
        return ((table, _frame(event, at, delivery, stream, epoch, parts)),)
    common = (
        delivery.seq,
        delivery.published_at,
        event.event_id,
        at,
        event.ingress,
        event.session_id,
        event.traceparent,
    )
    row: Row = common + fields(event)
    if table in t.WITH_CONTENT:
        row = (*(_blanked(table, row, event) if parts.content else row), parts.content)
    return (table, row), (t.EVENTS, _event(event, at, delivery, stream, epoch, parts))


def _blanked(table: Table, row: Row, event: Event) -> Row:
    """The typed row without what its `content` holds."""
    blank = _BLANK[table]
    operation = getattr(event, "operation", None)
    if operation is not None and not (operation.path and operation.path in operation.resources):
        blank = {index: value for index, value in blank.items() if value == ""}
    values = list(row)
    for index, value in blank.items():
        values[index] = value
    return tuple(values)


def _kind(subject: str) -> tuple[type[Event], Table, Callable[[Any], Row]]:
    tokens = subject.split(".", 3)
    family = tokens[1] if len(tokens) > 1 and tokens[0] == "cs" else ""
    found = _KINDS.get(family) or _KINDS.get(f"{family}.{tokens[2]}" if len(tokens) > 2 else "")
    if found is None:
        raise NotAnEvent(f"no event is known on {subject}")
    return found


def _event(event: Event, at: int, delivery: Delivery, stream: str, epoch: int, parts: Cut) -> Row:
    return (
        stream,
        epoch,
        delivery.seq,
        delivery.published_at,
        delivery.subject,
        type(event).__name__,
        event.event_id,
        at,
        event.ingress,
        count(event.ingress_seq or 0),
        event.session_id,
        getattr(event, "operation_id", ""),
        event.traceparent,
        parts.raw,
        parts.content,
    )


def _frame(event: SessionFrame, at: int, delivery: Delivery, stream: str, epoch: int, parts: Cut) -> Row:
    return (
        stream,
        epoch,
        delivery.seq,
        delivery.published_at,
        event.event_id,
        at,
        event.ingress,
        count(event.ingress_seq or 0),
        event.session_id,
        event.operation_id,
        event.protocol,
        count(event.seq),
        event.direction,
        event.media_type,
        event.truncated,
        delivery.subject,
        parts.raw,
        parts.content,
    )


def _attempt(event: OperationAttempted) -> Row:
    operation, asked = event.operation, event.asked
    return (
        started_at(event.operation_id),
        event.operation_id,
        *of_identity(event.identity),
        event.identity.owner,
        event.connector.name,
        event.connector.protocol,
        event.connector.tags,
        operation.action,
        operation.resources,
        operation.statement,
        operation.method,
        operation.path,
        as_json(operation.query),
        as_json(operation.attributes),
        count(operation.size),
        operation.complete,
        operation.digest,
        counts(event.findings),
        asked.wait_seconds,
        asked.approval_id or "",
        asked.reason,
        asked.run,
        event.peer,
    )


def _verdict(event: VerdictReached) -> Row:
    verdict = event.verdict
    return (
        started_at(event.operation_id),
        event.operation_id,
        event.by,
        verdict.decision.value,
        verdict.rules,
        verdict.reason,
        verdict.policy_version,
        verdict.obligations.model_dump_json(exclude_defaults=True),
        verdict.approval_id or "",
        verdict.approved_by,
        verdict.certificate or "",
    )


def _outcome(event: OperationFinished) -> Row:
    # Only an ingress counts its events; without a number, a recorder wrote it (closing.py).
    presumed = event.outcome is Outcome.UNKNOWN and event.ingress_seq is None
    refusal = event.refusal
    return (
        started_at(event.operation_id),
        event.operation_id,
        event.connector,
        event.protocol,
        event.outcome.value,
        presumed,
        bool(event.decision) and not presumed and refusal is None,
        event.decision,
        event.rules,
        event.reason,
        event.policy_version,
        event.approval_id or "",
        event.approved_by,
        event.status,
        event.error,
        counts(event.masked),
        count(event.request_bytes),
        count(event.response_bytes),
        count(event.rows),
        event.decided_ms,
        event.total_ms,
        as_json(event.attributes),
        refusal is not None,
        refusal.code if refusal else "",
        refusal.connector if refusal else "",
        refusal.action if refusal else "",
        refusal.statement if refusal else "",
        refusal.peer if refusal else "",
        count(refusal.suppressed) if refusal else 0,
        *(of_identity(refusal.identity) if refusal and refusal.identity else NOBODY),
    )


def _session_start(event: SessionOpened) -> Row:
    return event.protocol, event.peer, event.tls


def _session_end(event: SessionClosed) -> Row:
    return event.protocol, count(event.operations), event.reason


def _erasure(event: ContentErased) -> Row:
    return event.by, event.subject, event.reason


def _nothing(_: SessionFrame) -> Row:
    return ()


#: Subject family (and its second token, where a family has several events) to class, table and fields.
_KINDS: Final[Mapping[str, tuple[type[Event], Table, Callable[[Any], Row]]]] = {
    "attempt": (OperationAttempted, t.ATTEMPTS, _attempt),
    "verdict": (VerdictReached, t.VERDICTS, _verdict),
    "outcome": (OperationFinished, t.OUTCOMES, _outcome),
    "approval.requested": (ApprovalRequested, t.APPROVAL_REQUESTS, approval_rows.request),
    "approval.resolved": (ApprovalResolved, t.APPROVAL_RESOLUTIONS, approval_rows.resolution),
    "approval.withdrawn": (ApprovalWithdrawn, t.APPROVAL_WITHDRAWALS, approval_rows.withdrawal),
    "approval.previewed": (ApprovalPreviewed, t.APPROVAL_PREVIEWS, approval_rows.preview),
    "approval.used": (ApprovalUsed, t.APPROVAL_USES, approval_rows.use),
    "approval.revoked": (GrantRevoked, t.GRANT_REVOCATIONS, approval_rows.revocation),
    "session.opened": (SessionOpened, t.SESSION_STARTS, _session_start),
    "session.closed": (SessionClosed, t.SESSION_ENDS, _session_end),
    "erasure": (ContentErased, t.ERASURES, _erasure),
    "frame": (SessionFrame, t.SESSION_FRAMES, _nothing),
}

#: Where content would stand in a typed row, and what stands there instead.
_BLANK: Final[Mapping[Table, Mapping[int, Any]]] = {
    table: {table.columns.index(name): () if name == "resources" else "" for name in names}
    for table, names in t.CONTENT_COLUMNS.items()
}
