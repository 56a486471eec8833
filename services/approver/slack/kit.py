"""Pieces of Block Kit (docs.slack.dev, "Block Kit reference"), each within Slack's limits. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.approver.slack import limits
from services.approver.slack.text import fence, line

Block = dict[str, Any]


def plain_text(text: str) -> Block:
    """Text without markup."""
    return {"type": "plain_text", "text": text, "emoji": False}


def mrkdwn(text: str) -> Block:
    """Markup of ours around text that is inert already.

    `verbatim`: bare addresses, #channels and @names in the text do not become live either.
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def header(text: str) -> Block:
    """One line, large."""
    return {"type": "header", "text": plain_text(text[: limits.HEADER])}


def section(text: str) -> Block:
    """A paragraph, not folded."""
    return {"type": "section", "text": mrkdwn(text), "expand": True}


def fields(pairs: Iterable[tuple[str, str]]) -> Block:
    """A table of two columns: at most ten names and what they stand for."""
    return {"type": "section", "fields": [mrkdwn(f"*{name}*\n{value}") for name, value in pairs]}


def context(texts: Sequence[str]) -> Block:
    """Small print; at most ten texts."""
    return {"type": "context", "elements": [mrkdwn(text) for text in texts[: limits.CONTEXT]]}


def actions(block_id: str, buttons: Sequence[Block]) -> Block:
    """A row of buttons."""
    return {"type": "actions", "block_id": block_id, "elements": list(buttons)}


def button(
    text: str, action_id: str, value: str, style: str = "", confirm: tuple[str, str, str] | None = None
) -> Block:
    """A button; `confirm` is title, text and the word of a dialog that asks once more."""
    shown: Block = {"type": "button", "text": plain_text(text), "action_id": action_id, "value": value}
    if style:
        shown["style"] = style
    if confirm:
        title, words, yes = confirm
        shown["confirm"] = {
            "title": plain_text(title),
            "text": plain_text(words[: limits.CONFIRM]),
            "confirm": plain_text(yes),
            "deny": plain_text("Cancel"),
        }
    return shown


def modal(title: str, blocks: Sequence[Block], *, submit: str = "", close: str = "Close", **more: str) -> Block:
    """A form."""
    shown: Block = {"type": "modal", "title": plain_text(title), "close": plain_text(close), "blocks": list(blocks)}
    return shown | ({"submit": plain_text(submit)} if submit else {}) | more


def paragraphs(lines: Iterable[str], limit: int = limits.SECTION) -> list[Block]:
    """Lines as few sections as they fit into; each line is shorter than one."""
    blocks: list[list[str]] = [[]]
    room = limit
    for text in lines:
        if len(text) + 1 > room and blocks[-1]:
            blocks.append([])
            room = limit
        blocks[-1].append(text)
        room -= len(text) + 1
    return [section("\n".join(block)) for block in blocks if block]


def quoted(text: str, limit: int) -> str:
    """A stranger's words as a code block of their own."""
    return fence(line(text, limit))
