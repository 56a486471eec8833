"""Times, states and numbers in the words of our messages. Pure."""

from collections.abc import Iterable
from datetime import datetime

from schemas.approvals import Preview, Use
from schemas.events import ApprovalState, Outcome
from services.approver.pending import grant_limit
from services.approver.record import Held
from services.approver.scope import offered
from services.approver.slack.text import code, line

#: Characters of one name; of a list of names; of our own words about an error.
NAME, NAMES, ERROR = 150, 300, 300

SETTLED = {
    ApprovalState.APPROVED: "✅ Approved",
    ApprovalState.DENIED: "⛔ Denied",
    ApprovalState.EXPIRED: "⌛ Expired",
    ApprovalState.WITHDRAWN: "↩️ Withdrawn",
}
#: Lengths of grants offered as buttons, in seconds, as far as the rule's `grant` allows; else that limit itself.
WINDOWS = (900.0, 3600.0)


def state(record: Held) -> str:
    """`Approval needed`, or how it was settled."""
    if record.open:
        return "Approval needed"
    return "🚨 Let through by breaking glass" if record.break_glass else SETTLED[record.resolution]


def settled_by(record: Held) -> str:
    """How one of several was settled: `✅ alice@example.com`, `⌛ expired`; empty while open."""
    if record.open:
        so_far = ", ".join(reviewer.label for reviewer in record.approved_by)
        return f"yes from {code(so_far, 60)}" if so_far else ""
    mark, _, word = state(record).partition(" ")
    return f"{mark} {code(record.decided_by, 60)}" if record.decided_by else f"{mark} {word.lower()}"


def windows(record: Held) -> tuple[float, ...]:
    """Lengths of the grants that the buttons offer, in seconds."""
    limit = grant_limit(record.request.terms)
    return tuple(window for window in WINDOWS if window <= limit) or ((limit,) if limit else ())


def duration(seconds: float) -> str:
    """`45 s`, `15 min`, `1 h`, `1 h 30 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts)


def moment(at: datetime) -> str:
    """A time in the reader's own zone (docs.slack.dev, "Formatting message text", dates)."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{at:%Y-%m-%d %H:%M:%S UTC}>"


def lasting(record: Held) -> str:
    """Until when people may decide, and how long that is from the request."""
    request = record.request
    seconds = (request.terms.expires_at - request.at).total_seconds()
    return f"{moment(request.terms.expires_at)} ({duration(seconds)} in all)"


def count(number: int, thing: str) -> str:
    """`1 row`, `1,240 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def names(found: Iterable[str]) -> str:
    """A list of names as code."""
    return code(", ".join(found), NAMES)


def scope(record: Held, seconds: float) -> str:
    """What a grant of that length covers, in words; inert text."""
    return line(offered(record, seconds), 280)


def blast_radius(preview: Preview | None) -> str:
    """What the statement would change, as far as it was found out; empty when nobody looked."""
    if preview is None:
        return ""
    found = []
    if preview.estimated_rows is not None:
        found.append(f"the planner expects ~{count(preview.estimated_rows, 'row')}")
    if preview.counted_rows is not None:
        found.append(f"counted: {preview.counted_rows:,}")
    if preview.problem:
        found.append(f"not known: {line(preview.problem, ERROR)}" if not found else line(preview.problem, ERROR))
    return "; ".join(found)


def outcome(use: Use) -> str:
    """How the approved operation ended: `done: 1,238 rows, status `DELETE 1238`, 84 ms`."""
    match use.outcome:
        case Outcome.FORWARDED:
            parts = ["✅ done"]
        case Outcome.FAILED:
            parts = ["❌ failed"]
        case Outcome.UNKNOWN:
            parts = ["❓ nobody knows how it ended: the gateway died with it"]
        case other:
            parts = [f"⚠️ not carried out ({other})"]
    if use.rows:
        parts.append(count(use.rows, "row"))
    if use.status:
        parts.append(f"status {code(use.status, NAME)}")
    if use.error:
        parts.append(line(use.error, ERROR))
    return ", ".join([*parts, f"{use.total_ms:,.0f} ms"])
