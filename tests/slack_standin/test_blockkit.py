"""Block Kit's limits: the largest that passes, the smallest that does not, and whatever a generator thinks of."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.slack_standin.blockkit import message_complaints, text_length, view_complaints, with_ids
from tests.slack_standin.conftest import actions, button, modal, section


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def context(count: int) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * count}


def entry(**more: Any) -> dict[str, Any]:
    return {"type": "input", "label": plain("l"), "element": {"type": "plain_text_input", "action_id": "a", **more}}


LIMITS = {
    "section text": (lambda n: [section("x" * n)], 3000),
    "fields": (lambda n: [{"type": "section", "fields": [plain("x")] * n}], 10),
    "field text": (lambda n: [{"type": "section", "fields": [plain("x" * n)]}], 2000),
    "header": (lambda n: [{"type": "header", "text": plain("x" * n)}], 150),
    "context": (lambda n: [context(n)], 10),
    "actions": (lambda n: [actions(*(button(f"a{i}") for i in range(n)))], 25),
    "button text": (lambda n: [actions(button() | {"text": plain("x" * n)})], 75),
    "button value": (lambda n: [actions(button(value="x" * n))], 2000),
    "button url": (lambda n: [actions(button(url="x" * n))], 3000),
    "action_id": (lambda n: [actions(button("x" * n, text=plain("x")))], 255),
    "block_id": (lambda n: [section() | {"block_id": "x" * n}], 255),
    "blocks": (lambda n: [{"type": "divider"}] * n, 50),
    "confirm text": (lambda n: [actions(button(confirm=confirm("x" * n)))], 300),
    "placeholder": (lambda n: [entry(placeholder=plain("x" * n))], 150),
    "max_length": (lambda n: [entry(max_length=n)], 3000),
    "initial_value": (lambda n: [entry(initial_value="x" * n)], 3000),
}
VIEW_LIMITS = {
    "title": (lambda n: modal(title=plain("x" * n)), 24),
    "submit": (lambda n: modal(submit=plain("x" * n)), 24),
    "close": (lambda n: modal(close=plain("x" * n)), 24),
    "private_metadata": (lambda n: modal(private_metadata="x" * n), 3000),
    "callback_id": (lambda n: modal(callback_id="x" * n), 255),
    "blocks": (lambda n: modal(blocks=[{"type": "divider"}] * n), 100),
}


def confirm(text: str) -> dict[str, Any]:
    return {"title": plain("t"), "text": plain(text), "confirm": plain("y"), "deny": plain("n")}


@pytest.mark.parametrize("name", LIMITS)
def test_a_message_may_be_as_large_as_slack_says_and_no_larger(name: str):
    build, limit = LIMITS[name]
    assert message_complaints(build(limit)) == []
    assert message_complaints(build(limit + 1)) != []


@pytest.mark.parametrize("name", VIEW_LIMITS)
def test_a_modal_may_be_as_large_as_slack_says_and_no_larger(name: str):
    build, limit = VIEW_LIMITS[name]
    assert view_complaints(build(limit)) == []
    assert view_complaints(build(limit + 1)) != []


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
        ({"type": "section"}, "missing required field: text [json-pointer:/blocks/0]"),
        ({"type": "sektion"}, "unsupported type: sektion [json-pointer:/blocks/0/type]"),
        ({"text": "x"}, "missing required field: type [json-pointer:/blocks/0]"),
        (section() | {"colour": 1}, "invalid additional property: colour [json-pointer:/blocks/0]"),
        (actions(button(style="blue")), "must be one of primary, danger [json-pointer:/blocks/0/elements/0/style]"),
        (actions(button(value=None) | {"value": 7}), "must be a string [json-pointer:/blocks/0/elements/0/value]"),
        ({"type": "actions", "elements": []}, "no less than 1 items allowed [json-pointer:/blocks/0/elements]"),
        (
            {"type": "header", "text": {"type": "mrkdwn", "text": "x"}},
            "must be one of plain_text [json-pointer:/blocks/0/text/type]",
        ),
        (actions(button(), button()), "`action_id` approve already exists in the block [json-pointer:/blocks/0]"),
    ],
)
def test_what_slack_refuses_it_explains(block: dict[str, Any], complaint: str):
    assert message_complaints([block]) == [f"[ERROR] {complaint}"]


def test_block_ids_are_unique_in_a_message():
    twice = [section() | {"block_id": "b"}] * 2
    assert message_complaints(twice) == ["[ERROR] `block_id` b already exists [json-pointer:/blocks/1/block_id]"]


def test_a_form_needs_a_submit_button():
    form = modal()
    del form["submit"]
    assert view_complaints(form) == ["[ERROR] missing required field: submit [json-pointer:/view]"]


def test_text_is_counted_wherever_it_stands():
    assert text_length([section("12345"), actions(button("abc"))]) == 8


def test_ids_are_filled_in_and_the_callers_blocks_left_alone():
    blocks = [section(), {"type": "actions", "elements": [{"type": "button", "text": plain("x")}]}]
    before = copy.deepcopy(blocks)
    stored = with_ids(blocks, iter("abcd"))
    assert blocks == before
    assert {stored[0]["block_id"], stored[1]["block_id"], stored[1]["elements"][0]["action_id"]} == {"a", "b", "c"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "elements", "block_id", "element", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_breaks_the_check(value: Any):
    assert message_complaints(value) or isinstance(value, list)
    assert view_complaints(value)
