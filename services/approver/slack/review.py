"""The form that goes through several approvals: each with its own statement, whole, and its own buttons. Pure.

It shows the approvals of a `Selection`, and is drawn anew after each decision. What does not fit into a form of Slack's
is left to `countersign approvals show`, and says so.
"""

from collections.abc import Sequence

from services.approver.record import Held
from services.approver.slack import kit
from services.approver.slack.blocks import can_break_glass, radius_of
from services.approver.slack.kit import Block
from services.approver.slack.shape import operation_text
from services.approver.slack.sheet import Selection
from services.approver.slack.text import Excerpt, fence, line
from services.approver.slack.words import lasting, settled_by

CALLBACK = "countersign_review"
APPROVE, DENY, BREAK_GLASS = "countersign_review_approve", "countersign_review_deny", "countersign_review_break_glass"
#: Characters of one statement: what a section holds beside the fence. `shape.MAX_TEXT` is less.
STATEMENT = 2900
#: Characters of what went wrong with the last click.
WORDS = 600


def form(selection: Selection, records: Sequence[Held], words: str = "") -> Block:
    """The form as things stand; `words` tell what came of the last click."""
    blocks = [kit.section(f":warning: {line(words, WORDS)}")] if words else []
    for number, record in enumerate(records, 1):
        blocks += _one(number, record)
    return kit.modal("Review each", blocks, callback_id=CALLBACK, private_metadata=selection.value)


def place(view: Block | None) -> str:
    """Id and selection of this form, to draw it anew by; empty for another."""
    if not view or view.get("callback_id") != CALLBACK:
        return ""
    return f"{view['id']}|{view.get('private_metadata')}"


def _one(number: int, record: Held) -> list[Block]:
    shown = Excerpt.of(operation_text(record), STATEMENT)
    blocks = [kit.section(fence(shown.head if shown.whole else f"{shown.head} … {shown.tail}"))]
    facts = [settled_by(record), radius_of(record), f"until {lasting(record)}" if record.open else ""]
    facts.append(f"`{record.approval_id}`")
    blocks.append(kit.context([f"*{number}.* " + " · ".join(fact for fact in facts if fact)]))
    if record.open:
        value = record.approval_id
        buttons = [kit.button("Approve", APPROVE, value, "primary"), kit.button("Deny…", DENY, value, "danger")]
        if can_break_glass(record):
            buttons.append(kit.button("Break glass…", BREAK_GLASS, value))
        blocks.append(kit.actions(f"decide-{number}", buttons))
    return blocks
