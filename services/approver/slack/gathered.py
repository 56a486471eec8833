"""The message that asks about several approvals of one shape: one statement, and a list of what differs. Pure.

Every operation on it can be read from it exactly (`shape`), so that "Approve all" means what was seen. The button
carries a `Selection`: those listed at that moment. Each remains an approval of its own, with its own certificate.
"""

from collections.abc import Sequence
from datetime import timedelta

from services.approver.record import Held
from services.approver.slack import kit
from services.approver.slack.blocks import (
    APPROVE,
    DENY,
    GRANT,
    caller_words,
    can_break_glass,
    facts,
    granted,
    header,
    notes,
    progress,
    radius_of,
    summary,
)
from services.approver.slack.kit import Block
from services.approver.slack.shape import HOLE, shape_of, varying
from services.approver.slack.sheet import Selection, Sheet
from services.approver.slack.text import Excerpt, code, fence
from services.approver.slack.words import NAMES, count, duration, lasting, moment, scope, settled_by, state, windows

REVIEW = "countersign_review"
#: Characters of one value, uncut: `gathering.MAX_SIZE` bounds all of them together.
VALUE = 5000
#: Characters of an operation's name in a list of outcomes.
SUBJECT = 120
#: Characters of one text, uncut: `shape.MAX_TEXT`.
TEXT = 2600


def message(sheet: Sheet, records: Sequence[Held]) -> tuple[str, list[Block]]:
    """The notification's text and the blocks that show these approvals as they stand; `records` are the members."""
    first, still_open = records[0], [record for record in records if record.open]
    shown, rows = _operations(records)
    blocks = [header(first, f"{_title(records)}"), facts(first, _until(records), code(_touches(records), NAMES))]
    blocks.append(kit.section(f"The same {len(records)} times, but for what stands at {HOLE}:\n{fence(shown)}"))
    blocks += kit.paragraphs(_listed(records, rows))
    if (radius := radius_of(first)) and _same_radius(records):
        blocks.append(kit.section(f"*Blast radius of each:* {radius}"))
    if common := notes(first):  # findings and masks are part of the shape
        blocks.append(kit.context(common))
    blocks += caller_words(first)
    if still_open:
        blocks += [*progress(still_open), _decide(sheet, records, still_open)]
    else:
        blocks += _settled(records)
    blocks.append(_footer(sheet, first))
    return summary((still_open or records)[0], len(still_open or records)), blocks


def tallied(records: Sequence[Held]) -> str:
    """`3 open, 11 approved, 1 expired`."""
    tally: dict[str, int] = {}
    for record in records:
        word = "open" if record.open else str(record.resolution)
        tally[word] = tally.get(word, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in tally.items())


def names_of(records: Sequence[Held]) -> list[str]:
    """For each, in short and inert, what tells it from the others; its number where nothing does."""
    _, rows = _operations(records)
    return [code(", ".join(row), SUBJECT) if any(row) else f"#{number}" for number, row in enumerate(rows, 1)]


def _title(records: Sequence[Held]) -> str:
    still_open = sum(record.open for record in records)
    if still_open:
        return f"{count(still_open, 'approval')} needed"
    states = {state(record) for record in records}
    return f"{states.pop()} ({len(records)})" if len(states) == 1 else f"Settled: {tallied(records)}"


def _operations(records: Sequence[Held]) -> tuple[str, list[tuple[str, ...]]]:
    shapes = [shape_of(record) for record in records]
    templates = [shape.template for shape in shapes if shape]
    if len(templates) < len(records) or len({template.text for template in templates}) > 1:
        raise ValueError("approvals of different shapes on one sheet")
    text, rows = varying(templates)
    return Excerpt.of(text, TEXT).head, rows


def _listed(records: Sequence[Held], rows: Sequence[tuple[str, ...]]) -> list[str]:
    single = _same_radius(records)
    lines = []
    for number, (record, row) in enumerate(zip(records, rows, strict=True), 1):
        radius = "" if single else radius_of(record)
        parts = [part for part in (_values(row), radius, settled_by(record)) if part]
        lines.append(f"*{number}.* {' · '.join(parts)}".rstrip())
    return lines


def _values(row: tuple[str, ...]) -> str:
    return ", ".join(code(value, VALUE) for value in row)


def _same_radius(records: Sequence[Held]) -> bool:
    return len({radius_of(record) for record in records}) == 1


def _touches(records: Sequence[Held]) -> str:
    return ", ".join(dict.fromkeys(name for record in records for name in record.request.operation.resources))


def _until(records: Sequence[Held]) -> str:
    ends = sorted(record.request.terms.expires_at for record in records if record.open)
    if not ends or ends[-1] - ends[0] < timedelta(seconds=1):
        return lasting(records[0])
    return f"{moment(ends[0])} for the first, {moment(ends[-1])} for the last"


def _decide(sheet: Sheet, records: Sequence[Held], still_open: Sequence[Held]) -> Block:
    value, number = Selection.of(sheet, records).value, len(still_open)
    all_of = f"all {number}" if number > 1 else "the last one"
    words = (
        f"Approves the {count(number, 'operation')} open in this list, each by itself. What comes later is not covered."
    )
    buttons = [
        kit.button(
            f"Approve {all_of}",
            APPROVE,
            value,
            "primary",
            (f"Approve {count(number, 'operation')}?", words, "Approve"),
        )
    ]
    buttons += [_grant_button(still_open[0], seconds, value, number) for seconds in windows(still_open[0])]
    buttons.append(kit.button("Review each…", REVIEW, value))
    buttons.append(kit.button(f"Deny {all_of}…", DENY, value, "danger"))
    return kit.actions("decide", buttons)


def _grant_button(record: Held, seconds: float, value: str, number: int) -> Block:
    window = duration(seconds)
    words = f"Approves all {number}, and lets through without asking {scope(record, seconds)}"
    return kit.button(
        f"Approve all for {window}", f"{GRANT}{seconds:g}", value, confirm=(f"Approve for {window}?", words, "Approve")
    )


def _settled(records: Sequence[Held]) -> list[Block]:
    lines = [f"*{tallied(records)}*"]
    reasons = dict.fromkeys(record.reason for record in records if record.reason)
    lines += [kit.quoted(reason, 300) for reason in list(reasons)[:3]]
    for record in records:
        lines += granted(record)
    return [kit.section("\n".join(lines)[:2900])]


def _footer(sheet: Sheet, first: Held) -> Block:
    more = (
        "" if not can_break_glass(first) else " · in an emergency: Review each… or `countersign approvals break-glass`"
    )
    return kit.context(
        [
            f"First approval `{sheet.sheet_id}` · policy {code(first.request.policy_version, 80)}{more}",
            "Each is an approval of its own, with its own certificate.",
        ]
    )
