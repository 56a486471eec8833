"""The message that asks about one approval, and the same message when it is settled: all that a person needs to decide.

Pure. Whatever an agent, an upstream or a token wrote stands in code, made inert by `text`; only our own words are
markup. The order is that of the questions people ask: what, who, why, what would it change, what would be masked, until
when, who has said what. Counterpart: `gathered` asks about several of one shape.
"""

from datetime import timedelta

from services.approver.needed import needed
from services.approver.record import Held
from services.approver.slack import kit
from services.approver.slack.kit import Block
from services.approver.slack.text import BACKTICK, Excerpt, code, fence, line
from services.approver.slack.words import (
    NAME,
    NAMES,
    blast_radius,
    duration,
    lasting,
    moment,
    names,
    scope,
    state,
    windows,
)

APPROVE = "countersign_approve"
GRANT = "countersign_grant_"
DENY = "countersign_deny"
BREAK_GLASS = "countersign_break_glass"

#: Characters of head and tail of a statement: two sections.
STATEMENT = 4800
#: Characters of a path.
PATH = 800
#: Characters of who is still needed, over all rules.
NEEDED = 600
#: Characters of the caller's reason; the approver's own reason.
REASON = 800


def message(record: Held) -> tuple[str, list[Block]]:
    """The notification's text and the blocks that show this approval as it stands."""
    blocks = [header(record), facts(record), *operation(record), *caller_words(record)]
    blocks += [*progress([record]), _decide(record)] if record.open else [_outcome(record)]
    blocks.append(_footer(record))
    return summary(record), blocks


def summary(record: Held, several: int = 1) -> str:
    """One line for notifications and screen readers."""
    request = record.request
    what = f"{line(request.operation.action, NAME)} on {line(request.connector.name)}"
    times = f"{several} × " if several > 1 else ""
    return f"{state(record)}: {times}{what}, asked by {line(request.identity.subject, NAME)}"


def header(record: Held, title: str = "") -> Block:
    """What it is about, large."""
    request = record.request
    return kit.header(f"{title or state(record)}: {line(request.operation.action, 60)} on {request.connector.name}")


def facts(record: Held, until: str = "", touches: str = "") -> Block:
    """Who asks for what, and why people are asked."""
    request, identity = record.request, record.request.identity
    tags = ", ".join(f"{name}={value}" for name, value in sorted(request.connector.tags.items()))
    fields = [
        ("Who", f"{code(identity.subject, NAME)} ({line(identity.kind, 20)})"),
        ("E-mail", code(identity.email, NAME)),
        ("Groups", names(identity.groups)),
        ("Action", code(request.operation.action, NAME)),
        ("Connector", f"{code(request.connector.name)}" + (f" {code(tags, NAMES)}" if tags else "")),
        ("Touches", touches or names(request.operation.resources)),
        ("Why", "rule " + names(record.rules)),
        ("Until", until or lasting(record)),
    ]
    if identity.owner:
        fields.append(("Owned by", code(identity.owner, NAME)))
    if record.header_fields:
        fields.append(("Header fields", names(record.header_fields)))
    return kit.fields(fields)


def operation(record: Held) -> list[Block]:
    """What would be done, with what we know about it."""
    asked = record.request.operation
    blocks: list[Block] = []
    if asked.method or asked.path:
        query = "&".join(f"{name}={value}" for name, value in asked.query.items())
        path = asked.path + (f"?{query}" if query else "")
        blocks.append(kit.section(code(f"{asked.method} {path}".strip(), PATH)))
    blocks += statement(record)
    if radius := radius_of(record):
        blocks.append(kit.section(f"*Blast radius:* {radius}"))
    if found := notes(record):
        blocks.append(kit.context(found))
    return blocks


def statement(record: Held) -> list[Block]:
    """The statement, whole where it fits; else its head, its tail, and where to read all of it."""
    text = record.request.operation.statement
    if not text:
        return []
    shown = Excerpt.of(text, STATEMENT)
    if shown.whole and len(shown.head) <= STATEMENT // 2:
        return [kit.section(fence(shown.head))]
    if shown.whole:  # it takes two sections, but nothing is missing between them
        half = _break(shown.head)
        return [kit.section(fence(shown.head[:half])), kit.section(fence(shown.head[half:]))]
    left_out = (
        f":warning: *{shown.left_out:,} of {len(text):,} characters are left out here.* Read all of it with "
        f"`countersign approvals show {record.approval_id}`"
    )
    return [kit.section(fence(shown.head)), kit.context([left_out]), kit.section(fence(shown.tail))]


def _break(shown: str) -> int:
    """Where to part a text for two sections: at a line's end if there is one, never inside an escape."""
    limit = STATEMENT // 2 + 200
    end = shown.rfind("\n", 0, limit)
    if end > STATEMENT // 2 - 200:
        return end + 1
    start = shown.rfind("&", limit - 5, limit)
    return start if start > 0 and ";" not in shown[start:limit] else limit


def notes(record: Held) -> list[str]:
    """What was found out about the operation, and what will be done to it."""
    request = record.request
    found: list[str] = []
    if request.findings:
        entities = ", ".join(f"{name} × {number}" for name, number in sorted(request.findings.items()))
        found.append(f"Found in the request: {code(entities, NAMES)}")
    mask = request.obligations.mask
    if not mask.empty:
        masked = [*(f"request {name}" for name in mask.request), *(f"response {name}" for name in mask.response)]
        masked += [*mask.columns, *mask.fields]
        found.append(f"Will be masked: {code(', '.join(masked), NAMES)}")
    if "`" in request.operation.statement:
        found.append(f"{BACKTICK} stands for a backtick.")
    if not request.operation.complete:
        found.append(f":warning: The request is larger than what is shown: {request.operation.size:,} bytes in all.")
    return found


def radius_of(record: Held) -> str:
    """How many rows it would change, or that we wanted to know and do not."""
    if record.preview is None and record.request.terms.preview != "none":
        return "not known; the database did not say in time"
    return blast_radius(record.preview)


def caller_words(record: Held) -> list[Block]:
    """The reason that the caller gave."""
    reason = record.request.asked.reason
    if not reason:
        return [kit.context(["The caller gave no reason."])]
    return [kit.section(f"The caller's own words:\n{kit.quoted(reason, REASON)}")]


def progress(records: list[Held]) -> list[Block]:
    """Who has said yes, who is still needed, and that time is running. `records` are open, and need the same people."""
    first = records[0]
    wanted = {code(needed(record), NEEDED) for record in records}
    texts = [f"Still needed: {wanted.pop()}" if len(wanted) == 1 else "Still needed: see each"]
    if len(records) == 1 and first.approved_by:
        texts.append("Yes from " + names(reviewer.label for reviewer in first.approved_by))
    escalated = [notice for notice in first.notices if notice.kind == "escalated"]
    texts += [f"⏫ {names(notice.groups)} asked as well since {moment(notice.at)}" for notice in escalated[-1:]]
    reminded = [notice for notice in first.notices if notice.kind == "reminder"]
    texts += [f"⏰ Reminded {moment(notice.at)}: nobody has settled it yet" for notice in reminded[-1:]]
    return [kit.context(texts)]


def can_break_glass(record: Held) -> bool:
    """Whether the rules name people who may let it through alone."""
    return all(requirement.break_glass for requirement in record.request.terms.requirements)


def _decide(record: Held) -> Block:
    value = record.approval_id
    buttons = [kit.button("Approve once", APPROVE, value, "primary")]
    buttons += [grant_button(record, seconds, value) for seconds in windows(record)]
    buttons.append(kit.button("Deny…", DENY, value, "danger"))
    if can_break_glass(record):
        buttons.append(kit.button("Break glass…", BREAK_GLASS, value))
    return kit.actions("decide", buttons)


def grant_button(record: Held, seconds: float, value: str) -> Block:
    """Approve, and the same without asking for a while."""
    window = duration(seconds)
    words = f"Approves this, and lets through without asking {scope(record, seconds)}"
    return kit.button(
        f"Approve for {window}", f"{GRANT}{seconds:g}", value, confirm=(f"Approve for {window}?", words, "Approve")
    )


def _outcome(record: Held) -> Block:
    lines = [f"*{state(record)}* {moment(record.resolved_at)}"]
    if record.decided_by:
        lines[0] += f" by {code(record.decided_by, NAMES)}"
    if record.reason:
        lines.append(kit.quoted(record.reason, REASON))
    lines += granted(record)
    return kit.section("\n".join(lines))


def granted(record: Held) -> list[str]:
    """What the grant given with it covers, and until when."""
    if record.grant_id is None or not record.grant_seconds:
        return []
    until = record.resolved_at + timedelta(seconds=record.grant_seconds)
    return [f"Until {moment(until)}, unless it is revoked: `{scope(record, record.grant_seconds)}`"]


def _footer(record: Held) -> Block:
    request = record.request
    return kit.context(
        [
            f"Approval `{record.approval_id}` · operation `{request.operation_id}`",
            f"Digest {code(request.operation.digest, NAME)} · policy {code(request.policy_version, 80)}",
        ]
    )
