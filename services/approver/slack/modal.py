"""The form that asks for a reason to deny, and what it turns into when the answer is refused. Pure."""

from typing import Any

from services.approver.record import Held
from services.approver.slack.blocks import summary
from services.approver.slack.limits import REASON
from services.approver.slack.text import line

Block = dict[str, Any]

CALLBACK = "countersign_deny"
_INPUT, _BLOCK = "reason", "why"


def deny_form(record: Held) -> Block:
    """Carries the approval's id in `private_metadata`, which nobody but this app can write."""
    field = {"type": "plain_text_input", "action_id": _INPUT, "multiline": True, "min_length": 1, "max_length": REASON}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": record.approval_id,
        "title": _plain("Deny"),
        "submit": _plain("Deny"),
        "close": _plain("Cancel"),
        "blocks": [
            {"type": "section", "text": _plain(summary(record))},
            {
                "type": "input",
                "block_id": _BLOCK,
                "label": _plain("Why? The caller and the audit get your words."),
                "element": field,
            },
        ],
    }


def reason_of(view: Block) -> str:
    """What was typed into the form; empty when Slack sent none."""
    typed = view.get("state", {}).get("values", {}).get(_BLOCK, {}).get(_INPUT, {}).get("value")
    return str(typed or "").strip()[:REASON]


def refusal_view(words: str) -> Block:
    """Takes the form's place when the denial did not count."""
    return {
        "type": "modal",
        "title": _plain("Nothing was done"),
        "close": _plain("Close"),
        "blocks": [{"type": "section", "text": _plain(line(words, 1000))}],
    }


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
