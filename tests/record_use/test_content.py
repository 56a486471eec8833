"""Recorded content as people see it: prose of models, tables of rows, terminals; and never an error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.replay import content, llm
from countersign.replay.content import Cast, Table, Text, block

MEDIA = st.sampled_from(
    ["application/json", "text/event-stream", "application/x-ndjson", "text/csv", "application/x-asciicast", ""]
)


@given(MEDIA, st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_content_can_be_shown(media: str, data: str) -> None:
    for direction in ("request", "response"):
        block(media, data, direction)


def test_rows_as_a_table() -> None:
    data = '["id","name"]\n[1,"Ada"]\n[2,null]\n[3,{"a":1}]\n[4,"cut o'
    assert block("application/x-ndjson", data, "response") == Table(
        ("id", "name"), (("1", "Ada"), ("2", None), ("3", '{"a": 1}'))
    )


def test_objects_as_a_table() -> None:
    data = '{"id":1,"name":"Ada"}\n{"id":2,"more":"x\\u001b[2J"}\n'
    assert block("application/jsonl; charset=utf-8", data, "response") == Table(
        ("id", "name", "more"), (("1", "Ada", None), ("2", None, "x<U+001B>[2J"))
    )


def test_csv_as_a_table() -> None:
    assert block("text/csv", 'id,name\n1,"a,b"\n', "response") == Table(("id", "name"), (("1", "a,b"),))


def test_a_long_table_says_what_is_left_out() -> None:
    shown = block("text/csv", "n\n" + "".join(f"{n}\n" for n in range(content.MAX_ROWS + 7)), "response")
    assert isinstance(shown, Table)
    assert (len(shown.rows), shown.left_out) == (content.MAX_ROWS, 7)


def test_lines_that_are_not_rows_are_text() -> None:
    data = '{"a":1}\nnot json\n{"b":2}\n'
    assert block("application/x-ndjson", data, "response") == Text(data)


def test_a_terminals_output_is_kept_and_read() -> None:
    lines = '{"version":2,"width":80,"height":24}\n[0.5,"o","\\u001b[31mhi\\u001b[0m"]\n[0.6,"i","x"]\n'
    assert block("application/x-asciicast", lines, "response") == Cast(lines, "hi")


def test_erased_content_says_so() -> None:
    assert block("application/x-ndjson", content.ERASED, "response") == Text("[erased]")


def test_json_is_laid_out() -> None:
    assert block("application/json", '{"a":{"b":1}}', "response") == Text('{\n  "a": {\n    "b": 1\n  }\n}')


def test_much_text_is_cut_and_says_so() -> None:
    shown = block("text/plain", "x" * (content.MAX_TEXT + 10), "response")
    assert isinstance(shown, Text)
    assert shown.text.endswith("\n[…]")


def stream(*events: object) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (
            [
                {"choices": [{"delta": {"role": "assistant", "content": "Hel"}}]},
                {"choices": [{"delta": {"content": "lo"}}]},
                {"choices": [{"delta": {"tool_calls": [{"function": {"name": "refund", "arguments": ""}}]}}]},
                {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"id":1}'}}]}}]},
            ],
            'Hello\n→ refund {"id":1}',
        ),
        (
            [
                {"type": "response.output_text.delta", "delta": "Hel"},
                {"type": "response.output_text.delta", "delta": "lo"},
                {"type": "response.output_item.added", "item": {"type": "function_call", "name": "refund"}},
                {"type": "response.function_call_arguments.delta", "delta": '{"id":1}'},
            ],
            'Hello\n→ refund {"id":1}',
        ),
        (
            [
                {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}},
                {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "refund"}},
                {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"id":1}'}},
            ],
            'Hello\n→ refund {"id":1}',
        ),
    ],
    ids=["chat", "responses", "messages"],
)
def test_a_models_stream_as_words(events: list[object], words: str) -> None:
    data = stream(*events)
    assert llm.said("text/event-stream", data) == words
    assert llm.said("text/event-stream", data.replace("\n", "\r\n")) == words
    shown = block("text/event-stream", data, "response")
    assert isinstance(shown, Text)
    assert (shown.text, shown.raw) == (words, data)


def test_a_stream_that_was_cut_keeps_what_came() -> None:
    data = stream({"choices": [{"delta": {"content": "Hello"}}]}, {"choices": [{"delta": {"content": "lost"}}]})
    assert llm.said("text/event-stream", data[: data.index("lost")]) == "Hello"


def test_whole_replies_as_words() -> None:
    chat = {"choices": [{"message": {"content": "Hi", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}
    assert llm.said("application/json", json.dumps(chat)) == "Hi\n→ f {}"
    message = {
        "type": "message",
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "name": "f", "input": {}}],
    }
    assert llm.said("application/json", json.dumps(message)) == "Hi\n→ f {}"
    response = {
        "output": [
            {"content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
        ]
    }
    assert llm.said("application/json", json.dumps(response)) == "Hi\n→ f {}"
    assert llm.said("application/json", '{"rows": []}') is None


def test_what_was_asked_of_a_model() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Refund 1"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        ],
    }
    assert llm.asked(json.dumps(body)) == "system: Be brief.\n\nuser: Refund 1\n[image_url]\n\nassistant: → f {}"
    assert llm.asked('{"amount": 3}') is None
    assert llm.asked("not json") is None
