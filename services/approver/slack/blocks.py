"""The message that asks, and the same message when it is settled: Block Kit with all that a person needs to decide.

Pure. Whatever an agent, an upstream or a token wrote stands in code, made inert by `text`; only our own words are
markup. The order is that of the questions people ask: what, who, why, what would be masked, until when, who has said
what.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from schemas.events import ApprovalState
from services.approver.eligibility import progress
from services.approver.pending import grant_limit
from services.approver.record import Held
from services.approver.slack import limits
from services.approver.slack.text import BACKTICK, Excerpt, code, fence, line

Block = dict[str, Any]

APPROVE = "countersign_approve"
GRANT = "countersign_grant_"
DENY = "countersign_deny"

#: Windows offered as buttons, in seconds, as far as the rule's `grant` allows; else that limit itself.
WINDOWS = (900.0, 3600.0)
#: Characters of head and tail of a statement: two sections.
STATEMENT = 4800
#: Characters of one name, list of names, or path.
NAME, NAMES, PATH = 150, 300, 800
#: Rules whose quorum is shown one by one.
RULES = 5
#: Characters of the caller's reason; the approver's own reason.
REASON = 800

_SETTLED = {
    ApprovalState.APPROVED: "✅ Approved",
    ApprovalState.DENIED: "⛔ Denied",
    ApprovalState.EXPIRED: "⌛ Expired",
    ApprovalState.WITHDRAWN: "↩️ Withdrawn",
}


def message(record: Held, granted_until: datetime | None = None) -> tuple[str, list[Block]]:
    """The notification's text and the blocks that show this approval as it stands; until when its grant lasts."""
    blocks = [_header(record), _facts(record)]
    blocks += _operation(record)
    blocks += _caller_words(record)
    blocks += _open(record) if record.open else [_outcome(record, granted_until)]
    blocks.append(_footer(record))
    return summary(record), blocks


def summary(record: Held) -> str:
    """One line for notifications and screen readers."""
    request = record.request
    what = f"{line(request.operation.action, NAME)} on {line(request.connector.name)}"
    state = "Approval needed" if record.open else _SETTLED[record.resolution]
    return f"{state}: {what}, asked by {line(request.identity.subject, NAME)}"


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


def scope(record: Held) -> str:
    """What a grant covers, in words; inert text."""
    request = record.request
    return (
        f"{line(request.identity.subject, 60)} may do everything that rule {line(record.rules[0])} asks about "
        f"on {line(request.connector.name)}, without asking again."
    )


def _header(record: Held) -> Block:
    request = record.request
    title = "Approval needed" if record.open else _SETTLED[record.resolution]
    text = f"{title}: {line(request.operation.action, 60)} on {request.connector.name}"
    return {"type": "header", "text": {"type": "plain_text", "text": text[: limits.HEADER], "emoji": False}}


def _facts(record: Held) -> Block:
    request, identity = record.request, record.request.identity
    who = f"{code(identity.subject, NAME)} ({line(identity.kind, 20)})"
    tags = ", ".join(f"{name}={value}" for name, value in sorted(request.connector.tags.items()))
    fields = [
        ("Who", who),
        ("E-mail", code(identity.email, NAME)),
        ("Groups", _names(identity.groups)),
        ("Action", code(request.operation.action, NAME)),
        ("Connector", f"{code(request.connector.name)}" + (f" {code(tags, NAMES)}" if tags else "")),
        ("Touches", _names(request.operation.resources)),
        ("Why", "rule " + _names(record.rules)),
        ("Until", moment(request.terms.expires_at)),
    ]
    if identity.owner:
        fields.append(("Owned by", code(identity.owner, NAME)))
    return {"type": "section", "fields": [_mrkdwn(f"*{name}*\n{value}") for name, value in fields]}


def _operation(record: Held) -> list[Block]:
    operation = record.request.operation
    blocks: list[Block] = []
    if operation.method or operation.path:
        query = "&".join(f"{name}={value}" for name, value in operation.query.items())
        path = operation.path + (f"?{query}" if query else "")
        blocks.append(_section(code(f"{operation.method} {path}".strip(), PATH)))
    blocks += _statement(record)
    if notes := _notes(record):
        blocks.append(_context(notes))
    return blocks


def _statement(record: Held) -> list[Block]:
    statement = record.request.operation.statement
    if not statement:
        return []
    shown = Excerpt.of(statement, STATEMENT)
    if shown.whole and len(shown.head) <= STATEMENT // 2:
        return [_section(fence(shown.head))]
    if shown.whole:  # it takes two sections, but nothing is missing between them
        half = _break(shown.head)
        return [_section(fence(shown.head[:half])), _section(fence(shown.head[half:]))]
    left_out = (
        f":warning: *{shown.left_out:,} of {len(statement):,} characters are left out here.* Read all of it with "
        f"`countersign approvals show {record.approval_id}`"
    )
    return [_section(fence(shown.head)), _context([left_out]), _section(fence(shown.tail))]


def _break(shown: str) -> int:
    """Where to part a text for two sections: at a line's end if there is one, never inside an escape."""
    limit = STATEMENT // 2 + 200
    end = shown.rfind("\n", 0, limit)
    if end > STATEMENT // 2 - 200:
        return end + 1
    start = shown.rfind("&", limit - 5, limit)
    return start if start > 0 and ";" not in shown[start:limit] else limit


def _notes(record: Held) -> list[str]:
    request = record.request
    notes: list[str] = []
    if request.findings:
        found = ", ".join(f"{name} × {count}" for name, count in sorted(request.findings.items()))
        notes.append(f"Found in the request: {code(found, NAMES)}")
    mask = request.obligations.mask
    if not mask.empty:
        masked = [*(f"request {name}" for name in mask.request), *(f"response {name}" for name in mask.response)]
        masked += [*mask.columns, *mask.fields]
        notes.append(f"Will be masked: {code(', '.join(masked), NAMES)}")
    if "`" in request.operation.statement:
        notes.append(f"{BACKTICK} stands for a backtick.")
    if not request.operation.complete:
        notes.append(f":warning: The request is larger than what is shown: {request.operation.size:,} bytes in all.")
    return notes


def _caller_words(record: Held) -> list[Block]:
    reason = record.request.asked.reason
    if not reason:
        return [_context(["The caller gave no reason."])]
    shown = line(reason, REASON)
    return [_section(f"The caller's own words:\n{fence(shown)}")]


def _open(record: Held) -> list[Block]:
    blocks = [_context([_quorum(record)])]
    elements = [_button("Approve once", APPROVE, record, "primary")]
    elements += [_grant_button(record, seconds) for seconds in windows(record)]
    elements.append(_button("Deny…", DENY, record, "danger"))
    blocks.append({"type": "actions", "block_id": "decide", "elements": elements})
    return blocks


def _grant_button(record: Held, seconds: float) -> Block:
    button = _button(f"Approve for {duration(seconds)}", f"{GRANT}{seconds:g}", record)
    return button | {
        "confirm": {
            "title": _plain_text(f"Approve for {duration(seconds)}?"),
            "text": _plain_text(f"For {duration(seconds)}, {scope(record)}"[: limits.CONFIRM]),
            "confirm": _plain_text("Approve"),
            "deny": _plain_text("Cancel"),
        }
    }


def _quorum(record: Held) -> str:
    requirements = record.request.terms.requirements
    parts = []
    for requirement in requirements[:RULES]:
        count = progress(requirement, record.approved_by)
        parts.append(f"{count} of {requirement.quorum} from {code(', '.join(requirement.by), NAME)}")
    if len(requirements) > RULES:
        parts.append(f"and of {len(requirements) - RULES} more rules")
    approved = _names(reviewer.label for reviewer in record.approved_by)
    return "Approvals: " + ", ".join(parts) + (f". So far: {approved}" if record.approved_by else "")


def _outcome(record: Held, granted_until: datetime | None) -> Block:
    lines = [f"*{_SETTLED[record.resolution]}* {moment(record.resolved_at)}"]
    if record.decided_by:
        lines[0] += f" by {code(record.decided_by, NAMES)}"
    if record.reason:
        lines.append(fence(line(record.reason, REASON)))
    if record.grant_id:
        until = moment(granted_until) if granted_until else "the end of a grant that is over or revoked"
        lines.append(f"Until {until}: `{scope(record)}`")
    return _section("\n".join(lines))


def _footer(record: Held) -> Block:
    request = record.request
    return _context(
        [
            f"Approval `{record.approval_id}` · operation `{request.operation_id}`",
            f"Digest {code(request.operation.digest, NAME)} · policy {code(request.policy_version, 80)}",
        ]
    )


def _names(names: Iterable[str]) -> str:
    return code(", ".join(names), NAMES)


def _plain_text(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> Block:
    # `verbatim`: bare addresses, #channels and @names in the text do not become live either.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text), "expand": True}


def _context(texts: list[str]) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text) for text in texts]}


def _button(text: str, action_id: str, record: Held, style: str = "") -> Block:
    button = {
        "type": "button",
        "text": _plain_text(text),
        "action_id": action_id,
        "value": record.approval_id,
    }
    return button | ({"style": style} if style else {})
