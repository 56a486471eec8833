"""Block Kit's rules (docs.slack.dev/reference/block-kit), written in the language of `schema`.

Blocks that an approval message has no use for are accepted unseen (`LOOSE`).
Its counterpart is whoever calls chat.postMessage or views.open with blocks.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from examples.slack_standin.schema import (
    Check,
    anything,
    array,
    boolean,
    by_type,
    choice,
    complaint,
    either,
    integer,
    record,
    string,
)

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
# Undocumented until Slack's maintainers named it (slackapi/bolt-js#2509): all text of a message's blocks together.
MESSAGE_TEXT = 12_000

LOOSE = ("rich_text", "file", "video", "table", "context_actions", "plan", "task_card")


def text_object(maximum: int, *, plain_only: bool = False) -> Check:
    """A text object of 1 to `maximum` characters."""
    text = string(maximum, minimum=1)
    plain = record({"type": choice("plain_text"), "text": text}, {"emoji": boolean})
    if plain_only:
        return plain
    mrkdwn = record({"type": choice("mrkdwn"), "text": text}, {"verbatim": boolean})
    return by_type({"plain_text": plain, "mrkdwn": mrkdwn})


def _typed(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    return record({"type": anything} | required, optional)


ID = string(255)
PLACEHOLDER = text_object(150, plain_only=True)
CONFIRM = record(
    {
        "title": text_object(100, plain_only=True),
        "text": text_object(300),
        "confirm": text_object(30, plain_only=True),
        "deny": text_object(30, plain_only=True),
    },
    {"style": choice("primary", "danger")},
)
OPTION = record(
    {"text": text_object(75), "value": string(150)},
    {"description": text_object(75), "url": string(3000)},
)
BUTTON = _typed(
    {"text": text_object(75, plain_only=True)},
    {
        "action_id": ID,
        "value": string(2000),
        "url": string(3000),
        "style": choice("primary", "danger"),
        "confirm": CONFIRM,
        "accessibility_label": string(75),
    },
)
IMAGE = _typed({"alt_text": string(2000)}, {"image_url": string(3000), "slack_file": anything})
STATIC_SELECT = _typed(
    {},
    {
        "action_id": ID,
        "placeholder": PLACEHOLDER,
        "options": array(OPTION, 100, minimum=1),
        "option_groups": anything,
        "initial_option": OPTION,
        "confirm": CONFIRM,
        "focus_on_load": boolean,
    },
)
OVERFLOW = _typed({"options": array(OPTION, 5, minimum=1)}, {"action_id": ID, "confirm": CONFIRM})
CHOICES = _typed(
    {"options": array(OPTION, 10, minimum=1)},
    {
        "action_id": ID,
        "initial_option": OPTION,
        "initial_options": array(OPTION, 10),
        "confirm": CONFIRM,
        "focus_on_load": boolean,
    },
)
PLAIN_TEXT_INPUT = _typed(
    {},
    {
        "action_id": ID,
        "initial_value": string(3000),
        "multiline": boolean,
        "min_length": integer(0, 3000),
        "max_length": integer(1, 3000),
        "placeholder": PLACEHOLDER,
        "focus_on_load": boolean,
        "dispatch_action_config": anything,
    },
)

INTERACTIVE = {
    "button": BUTTON,
    "static_select": STATIC_SELECT,
    "overflow": OVERFLOW,
    "checkboxes": CHOICES,
    "radio_buttons": CHOICES,
}
INPUTS = {
    "plain_text_input": PLAIN_TEXT_INPUT,
    "static_select": STATIC_SELECT,
    "checkboxes": CHOICES,
    "radio_buttons": CHOICES,
}
WITH_ID: dict[str, Check] = {"block_id": ID}
SECTION_OPTIONAL: dict[str, Check] = {
    "accessory": by_type(INTERACTIVE | {"image": IMAGE}),
    "expand": boolean,
} | WITH_ID
FIELDS = array(text_object(2000), 10, minimum=1)

BLOCKS: dict[str, Check] = {
    "section": either(
        _typed({"text": text_object(3000)}, {"fields": FIELDS} | SECTION_OPTIONAL),
        _typed({"fields": FIELDS}, SECTION_OPTIONAL),
    ),
    "header": _typed({"text": text_object(150, plain_only=True)}, {"level": integer(1, 6)} | WITH_ID),
    "divider": _typed({}, WITH_ID),
    "context": _typed(
        {
            "elements": array(
                by_type({"image": IMAGE, **dict.fromkeys(("plain_text", "mrkdwn"), text_object(3000))}), 10, minimum=1
            )
        },
        WITH_ID,
    ),
    "actions": _typed({"elements": array(by_type(INTERACTIVE), 25, minimum=1)}, WITH_ID),
    "image": _typed(
        {"alt_text": string(2000)},
        {"image_url": string(3000), "slack_file": anything, "title": text_object(2000, plain_only=True)} | WITH_ID,
    ),
    "input": _typed(
        {"label": text_object(2000, plain_only=True), "element": by_type(INPUTS)},
        {"hint": text_object(2000, plain_only=True), "optional": boolean, "dispatch_action": boolean} | WITH_ID,
    ),
    "markdown": _typed({"text": string(12_000, minimum=1)}, WITH_ID),
} | dict.fromkeys(LOOSE, anything)

VIEW = record(
    {
        "type": choice("modal"),
        "title": text_object(24, plain_only=True),
        "blocks": array(by_type(BLOCKS), VIEW_BLOCKS),
    },
    {
        "submit": text_object(24, plain_only=True),
        "close": text_object(24, plain_only=True),
        "private_metadata": string(3000),
        "callback_id": string(255),
        "external_id": string(255),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    },
)


def message_complaints(blocks: Any) -> list[str]:
    """What Slack would say against `blocks` in a message; empty when it would take them."""
    return [*array(by_type(BLOCKS), MESSAGE_BLOCKS)(blocks, "/blocks"), *_repeated_ids(blocks, "/blocks")]


def view_complaints(view: Any) -> list[str]:
    """What Slack would say against a modal; empty when it would open it."""
    found = list(VIEW(view, "/view"))
    if found:
        return found
    blocks = view["blocks"]
    if "submit" not in view and any(block["type"] == "input" for block in blocks):
        found.append(complaint("missing required field: submit", "/view"))
    return [*found, *_repeated_ids(blocks, "/view/blocks")]


def text_length(part: Any) -> int:
    """Characters in every `text` string below `part`."""
    if isinstance(part, list):
        return sum(map(text_length, part))
    if not isinstance(part, dict):
        return 0
    return sum(
        len(value) if name == "text" and isinstance(value, str) else text_length(value) for name, value in part.items()
    )


def elements(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The interactive parts of one block."""
    nested = block.get("elements")
    candidates = [*(nested if isinstance(nested, list) else ()), block.get("accessory"), block.get("element")]
    yield from (element for element in candidates if isinstance(element, dict) and "action_id" in element)


def with_ids(blocks: list[dict[str, Any]], names: Iterator[str]) -> list[dict[str, Any]]:
    """The blocks as Slack stores them: one without block_id, or element without action_id, gets one."""
    stored = [{"block_id": next(names), **block} for block in blocks]
    for block in stored:
        if isinstance(block.get("elements"), list):
            block["elements"] = [_with_action_id(element, names) for element in block["elements"]]
    return stored


def _with_action_id(element: Any, names: Iterator[str]) -> Any:
    if isinstance(element, dict) and element.get("type") in INTERACTIVE:
        return {"action_id": next(names), **element}
    return element


def _repeated_ids(blocks: Any, pointer: str) -> Iterator[str]:
    """block_id is unique in a message, action_id within a block."""
    if not isinstance(blocks, list):
        return
    seen: set[str] = set()
    for index, block in enumerate(block for block in blocks if isinstance(block, dict)):
        block_id = block.get("block_id")
        if block_id is not None:
            if str(block_id) in seen:
                yield complaint(f"`block_id` {block_id} already exists", f"{pointer}/{index}/block_id")
            seen.add(str(block_id))
        actions = sorted(str(element["action_id"]) for element in elements(block))
        for first, second in itertools.pairwise(actions):
            if first == second:
                yield complaint(f"`action_id` {first} already exists in the block", f"{pointer}/{index}")
