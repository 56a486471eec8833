"""The forms that ask for a reason, to deny or to break glass, and what they turn into when that is refused. Pure.

`private_metadata`, which nobody but this app can write, says what the form is about: an approval's id or a `Selection`,
and behind a `|` the form below this one (`review.place`), if there is one.
"""

from typing import Any

from services.approver.slack import kit
from services.approver.slack.kit import Block
from services.approver.slack.limits import REASON
from services.approver.slack.text import line

DENY, BREAK_GLASS = "countersign_deny", "countersign_break_glass"
_INPUT, _BLOCK = "reason", "why"


def deny_form(about: str, summary: str, below: str = "") -> Block:
    """Asks why not. `about` is an approval's id or a selection's value; `summary` names it in inert text."""
    return _form("Deny", DENY, about, summary, "Why? The caller and the audit get your words.", below)


def break_glass_form(about: str, summary: str, below: str = "") -> Block:
    """Asks why one person may let it through alone."""
    words = "Why now, and without the others? Everybody in the channel and the audit get your words."
    return _form("Break glass", BREAK_GLASS, about, summary, words, below)


def _form(title: str, callback: str, about: str, summary: str, question: str, below: str) -> Block:
    field = {"type": "plain_text_input", "action_id": _INPUT, "multiline": True, "min_length": 1, "max_length": REASON}
    blocks = [
        {"type": "section", "text": kit.plain_text(summary)},
        {"type": "input", "block_id": _BLOCK, "label": kit.plain_text(question), "element": field},
    ]
    return kit.modal(
        title, blocks, submit=title, close="Cancel", callback_id=callback, private_metadata=f"{about}|{below}"
    )


def about(view: Block) -> tuple[str, str]:
    """What a form is about, and the form below it."""
    what, _, below = str(view.get("private_metadata")).partition("|")
    return what, below


def reason_of(view: Block) -> str:
    """What was typed into the form; empty when Slack sent none."""
    values: Any = view.get("state", {}).get("values", {})
    typed = values.get(_BLOCK, {}).get(_INPUT, {}).get("value")
    return str(typed or "").strip()[:REASON]


def told(title: str, words: str) -> Block:
    """Takes the form's place: what came of it."""
    return kit.modal(title, [{"type": "section", "text": kit.plain_text(line(words, 1000))}])


def refusal_view(words: str) -> Block:
    """Takes the form's place when the answer did not count."""
    return told("Nothing was done", words)
