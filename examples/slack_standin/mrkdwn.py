"""Reading mrkdwn as Slack does, to check what user text may have smuggled into a message.

Documented in "Formatting message text": only `&`, `<` and `>` are escaped; `<…>` is live everywhere, code included.
Its counterpart that draws is in page.html.
"""

import html
import re
from collections.abc import Iterator
from typing import Any

CODE_BLOCK = re.compile(r"```(.+?)```", re.DOTALL)
REFERENCE = re.compile(r"<([^<>]+)>")


def mrkdwn_texts(part: Any) -> Iterator[str]:
    """Every text in `part` (blocks, or any piece of them) that Slack reads as mrkdwn."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from mrkdwn_texts(one)
    elif isinstance(part, dict):
        if part.get("type") == "mrkdwn" and isinstance(part.get("text"), str):
            yield part["text"]
        for one in part.values():
            yield from mrkdwn_texts(one)


def code_blocks(text: str) -> list[str]:
    """What a reader sees in each code block: a fence inside would end it early, and that shows here."""
    return [html.unescape(inside.removeprefix("\n").removesuffix("\n")) for inside in CODE_BLOCK.findall(text)]


def references(text: str) -> list[str]:
    """What is live: `@U1`, `#C1`, `!channel`, `https://…|label`. A quoted statement must add none."""
    return [html.unescape(found) for found in REFERENCE.findall(text)]
