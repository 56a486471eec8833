"""An approval as words: what a mail and the page that decides show of it, the same in both and as Slack shows it.

Pure. Every text of a stranger has gone through `inert`; markup is escaped by the templates. Moments are UTC, as a mail
cannot know its reader's zone; beside them stands how long is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.approvals import Preview
from schemas.events import ApprovalState
from services.approver import scope
from services.approver.inert import Excerpt, line, names
from services.approver.needed import needed
from services.approver.pending import grant_limit
from services.approver.record import Held

#: Characters of one name; of a list of names; of a path with its query; of a reason.
NAME, NAMES, PATH, REASON = 150, 400, 2000, 2000
#: Lengths of grant that are offered, in seconds, as far as the rule allows; else the rule's own limit.
WINDOWS = (900.0, 3600.0)

_SETTLED = {
    ApprovalState.APPROVED: "Approved",
    ApprovalState.DENIED: "Denied",
    ApprovalState.EXPIRED: "Expired",
    ApprovalState.WITHDRAWN: "Withdrawn",
}


@dataclass(frozen=True)
class Shown:
    """One approval, ready for a template; nothing in it is live, or unseen, but for markup characters."""

    approval_id: str
    #: `Approval needed`, `Approved`, `Approved in an emergency`, …
    state: str
    #: `sql.delete on orders`.
    what: str
    who: str
    facts: tuple[tuple[str, str], ...]
    request_line: str
    statement: Excerpt
    #: Characters of the statement in all.
    length: int
    #: The statement's end is not even known to us: it went on past what was inspected.
    warning: str
    caller_words: str
    #: Who is still needed; empty when it is settled.
    needed: str
    approved_by: tuple[str, ...]
    #: How it ended, line by line; empty while it is open.
    outcome: tuple[str, ...]
    footer: tuple[tuple[str, str], ...]

    @property
    def open(self) -> bool:
        """Whether people may still decide."""
        return not self.outcome

    @property
    def title(self) -> str:
        """One line for subjects, notifications and screen readers."""
        return f"{self.state}: {self.what}, asked by {self.who}"


def shown(record: Held, now: datetime, statement: int) -> Shown:
    """The approval in words; of a long statement at most `statement` characters, from its head and its tail."""
    request, operation = record.request, record.request.operation
    query = "&".join(f"{name}={value}" for name, value in operation.query.items())
    path = operation.path + (f"?{query}" if query else "")
    warning = f"The request is larger than what is shown: {operation.size:,} bytes in all."
    return Shown(
        approval_id=record.approval_id,
        state=state(record),
        what=f"{line(operation.action, 60)} on {request.connector.name}",
        who=line(request.identity.subject, NAME),
        facts=tuple(_facts(record, now)),
        request_line=line(f"{operation.method} {path}".strip(), PATH),
        statement=Excerpt.of(operation.statement, statement),
        length=len(operation.statement),
        warning="" if operation.complete else warning,
        caller_words=line(request.asked.reason, REASON),
        needed=line(needed(record), NAMES) if record.open else "",
        approved_by=tuple(line(reviewer.label, NAME) for reviewer in record.approved_by),
        outcome=() if record.open else tuple(_outcome(record)),
        footer=(
            ("Approval", record.approval_id),
            ("Operation", request.operation_id),
            ("Digest", line(operation.digest, NAME)),
            ("Policy", line(request.policy_version, NAME)),
        ),
    )


def state(record: Held) -> str:
    """How it stands, in a word or two."""
    if record.open:
        return "Approval needed"
    return "Approved in an emergency" if record.break_glass else _SETTLED[record.resolution]


def moment(at: datetime) -> str:
    """`2026-11-21 06:45:10 UTC`."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """`45 s`, `15 min`, `1 h 30 min`; seconds only below a quarter of an hour."""
    whole = max(round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    rest = rest if whole < 900 else 0
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts) or "0 s"


@dataclass(frozen=True)
class Window:
    """A grant that may be given with a yes."""

    seconds: float
    words: str
    scope: str


def windows(record: Held) -> tuple[Window, ...]:
    """The grants that the rule allows."""
    limit = grant_limit(record.request.terms)
    lengths = tuple(window for window in WINDOWS if window <= limit) or ((limit,) if limit >= 1 else ())
    return tuple(Window(each, duration(each), line(scope.offered(record, each), NAMES)) for each in lengths)


def blast_radius(preview: Preview) -> str:
    """`the planner expects 1,240 rows; counted: 1,238 rows`."""
    parts = []
    if preview.estimated_rows is not None:
        parts.append(f"the planner expects {_rows(preview.estimated_rows)}")
    if preview.counted_rows is not None:
        parts.append(f"counted: {_rows(preview.counted_rows)}")
    if preview.problem:
        parts.append(line(preview.problem, NAMES))
    return "; ".join(parts) or "not known"


def _rows(count: int) -> str:
    return f"{count:,} row" + ("" if count == 1 else "s")


def _facts(record: Held, now: datetime) -> Iterator[tuple[str, str]]:
    request, identity = record.request, record.request.identity
    yield "Who", f"{line(identity.subject, NAME)} ({line(identity.kind, 20)})"
    if identity.email:
        yield "E-mail", line(identity.email, NAME)
    yield "Groups", names(identity.groups, NAMES)
    if identity.owner:
        yield "Owned by", line(identity.owner, NAME)
    yield "Action", line(request.operation.action, NAME)
    tags = ", ".join(f"{name}={value}" for name, value in sorted(request.connector.tags.items()))
    yield "Connector", request.connector.name + (f" ({line(tags, NAMES)})" if tags else "")
    yield "Touches", names(request.operation.resources, NAMES)
    if record.header_fields:
        yield "Header fields", names(record.header_fields, NAMES)
    if record.preview:
        yield "Would change", blast_radius(record.preview)
    elif request.terms.preview != "none":
        yield "Would change", "not known yet"
    yield "Why", f"rule {names(record.rules, NAMES)}"
    if request.findings:
        yield "Found", names((f"{name} × {count}" for name, count in sorted(request.findings.items())), NAMES)
    mask = request.obligations.mask
    if not mask.empty:
        masked = [*(f"request {name}" for name in mask.request), *(f"response {name}" for name in mask.response)]
        yield "Will be masked", names([*masked, *mask.columns, *mask.fields], NAMES)
    if (rows := request.obligations.limit.rows) is not None:
        yield "Limited to", _rows(rows)
    until = request.terms.expires_at
    left = f" (in {duration((until - now).total_seconds())})" if record.open and until > now else ""
    yield "Until", moment(until) + left


def _outcome(record: Held) -> Iterator[str]:
    by = f" by {line(record.decided_by, NAMES)}" if record.decided_by else ""
    yield f"{state(record)} {moment(record.resolved_at)}{by}."
    if record.reason:
        yield f"Reason: {line(record.reason, REASON)}"
    if record.grant_id and record.grant_seconds:
        until = record.resolved_at + timedelta(seconds=record.grant_seconds)
        granted = line(scope.offered(record, record.grant_seconds), NAMES)
        yield f"Granted until {moment(until)}, unless it is revoked: {granted}."
    if record.use:
        use = record.use
        status = f", status {line(use.status, NAME)}" if use.status else ""
        error = f": {line(use.error, NAMES)}" if use.error else ""
        yield f"The operation ended as {use.outcome}{status}, {_rows(use.rows)}, {use.total_ms:,.0f} ms{error}."
