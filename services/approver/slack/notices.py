"""What is told beside the question: how it ended, who is called for help, who broke glass, and what the asker hears.

Pure. Everything here is short: a line for each operation, and only as many as a phone shows.
"""

from collections.abc import Sequence

from schemas.approvals import Notice
from schemas.events import ApprovalState
from services.approver.record import Held
from services.approver.slack import kit
from services.approver.slack.gathered import names_of, tallied
from services.approver.slack.kit import Block
from services.approver.slack.text import code, line
from services.approver.slack.words import NAME, NAMES, count, moment, outcome, state

#: Operations listed one by one; the others are counted.
LISTED = 20
#: The part of a question's life before its end in which a reminder calls people instead of only being shown.
LAST = 0.2
#: Characters of a reason.
REASON = 500

Message = tuple[str, list[Block]]


def outcomes(records: Sequence[Held]) -> Message | None:
    """The reply in the thread: how the approved operations ended; None while none has."""
    used = [(record, record.use) for record in records if record.use]
    if not used:
        return None
    if len(records) == 1:
        text = f"The approved operation: {outcome(used[0][1])}"
        return text, [kit.section(text)]
    approved = [record for record in records if record.resolution is ApprovalState.APPROVED and not record.open]
    rows = sum(use.rows for _, use in used)
    title = f"{len(used)} of {count(len(approved), 'approved operation')} ended" + (
        f", {count(rows, 'row')} in all" if rows else ""
    )
    names = dict(zip((record.approval_id for record in records), names_of(records), strict=True))
    lines = [f"{names[record.approval_id]}: {outcome(use)}" for record, use in used[:LISTED]]
    return title, [kit.section(f"*{title}*"), *kit.paragraphs(lines)]


def answer(records: Sequence[Held]) -> Message | None:
    """What the asker is told in a direct message; None while nothing is settled but by the asker's leaving."""
    settled = [record for record in records if not record.open]
    if all(record.resolution is ApprovalState.WITHDRAWN for record in settled):
        return None
    if len(records) == 1:
        return _answer_to_one(records[0])
    text = f"Your {len(records)} requests for {_what(records[0])}: {tallied(records)}"
    reasons = dict.fromkeys(
        (record.decided_by, record.reason) for record in settled if record.decided_by and record.reason
    )
    said = [f"{code(by, NAME)}: {line(reason, REASON)}" for by, reason in list(reasons)[:5]]
    return text, [kit.section(text), *kit.paragraphs(said)]


def _answer_to_one(record: Held) -> Message:
    by = f" by {code(record.decided_by, NAMES)}" if record.decided_by else ""
    text = f"Your request for {_what(record)}: *{state(record)}*{by}"
    blocks = [kit.section(f"{text}, {moment(record.resolved_at)}")]
    if record.reason:
        blocks.append(kit.section(kit.quoted(record.reason, REASON)))
    if record.use:
        blocks.append(kit.context([f"The operation: {outcome(record.use)}"]))
    blocks.append(kit.context([f"Approval `{record.approval_id}`"]))
    return text, blocks


def calling(record: Held) -> list[Notice]:
    """What people are called for while it is open: an escalation, and the last reminder. The first only shows."""
    start, end = record.request.at, record.request.terms.expires_at
    last = end - (end - start) * LAST
    return [
        notice
        for notice in record.notices
        if record.open and (notice.kind == "escalated" or (notice.kind == "reminder" and notice.at >= last))
    ]


def call(record: Held, notice: Notice, people: str) -> Message:
    """The reply in the thread that calls people; `people` are mentions of ours, or empty when Slack knows none."""
    whom, until = people or code(", ".join(notice.groups), NAMES), moment(record.request.terms.expires_at)
    if notice.kind == "escalated":
        text = f"⏫ {whom}: nobody has settled {_what(record)} yet. You may decide as well, until {until}."
    else:
        text = f"⏰ {whom}: {_what(record)} still waits, and expires {until}."
    return text, [kit.section(text)]


def alarm(record: Held) -> Message:
    """The loud message to everybody in the channel: one person let it through alone."""
    text = (
        f"<!channel> 🚨 *Glass broken*: {code(record.decided_by, NAMES)} alone let {_what(record)} through for "
        f"{code(record.request.identity.subject, NAME)}, {moment(record.resolved_at)}."
    )
    blocks = [kit.section(text)]
    if record.reason:
        blocks.append(kit.section(f"Their reason:\n{kit.quoted(record.reason, REASON)}"))
    blocks.append(kit.context([f"Approval `{record.approval_id}` · read it with `countersign approvals show`"]))
    return text, blocks


def _what(record: Held) -> str:
    return f"{code(record.request.operation.action, NAME)} on {code(record.request.connector.name)}"
