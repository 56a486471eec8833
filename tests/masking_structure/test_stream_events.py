"""Server-sent events around the texts: framing, ends, errors, repeats, and what a hostile upstream sends."""

from __future__ import annotations

import contextlib
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.masking import MaskingError, Replacer
from services.ingress.masking.llm_stream import sse
from services.ingress.masking.llm_stream.limits import CHANNELS_LIMIT, EVENT_LIMIT, RECORDED_EVENT_LIMIT
from services.ingress.masking.llm_stream.masker import EventStreamMasker
from services.ingress.masking.llm_stream.reassemble import Reassembly, reassemble
from services.ingress.masking.structure.document import Rules, masker_for
from tests.masking_structure.streams import DOCUMENTS, SCANNER, TEXTS, chat_chunk, event, masked, values

FACTS = ("model", "usage", "error")
CARD = "4111 1111 1111 1111"


def content(stream: bytes, index: int = 0, member: str = "content") -> str:
    choices = [choice for value in values(stream) for choice in value["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(member) or "" for choice in choices)


@pytest.mark.parametrize("shape", [*TEXTS, *DOCUMENTS], ids=lambda shape: shape.name)
def test_a_stream_without_values_passes_byte_by_byte(shape) -> None:  # type: ignore[no-untyped-def]
    stream = (
        shape.write(["All is well, ", "\n\n", "indeed. "])
        if shape in TEXTS
        else shape.write(['{"a": ', '"b c", ', '"d": 1.50}'])
    )
    for newline in (b"\n", b"\r\n", b"\r"):
        raw = b": ping\n\nretry: 10\nid: 7\n\n".replace(b"\n", newline) + stream.replace(b"\n", newline)
        # A text that ends in a word is held to its end, for it could be an address: the concatenation is the same.
        if shape in TEXTS:
            assert masked(raw) == raw
        assert masked(raw, range(len(raw))) == masked(raw)


def test_the_first_word_goes_out_when_it_is_no_part_of_a_value() -> None:
    masker = EventStreamMasker(SCANNER, Replacer())
    first = chat_chunk({"content": "Yes, "})
    assert masker.feed(first) == first


def test_choices_and_members_are_masked_each_as_one_text() -> None:
    stream = b"".join(
        chat_chunk({"content": a, "reasoning_content": b}, index=0) + chat_chunk({"content": c}, index=1)
        for a, b, c in zip(
            ["4111 1111 ", "1111 1111 ok"], ["bob@exa", "mple.com!"], ["4111 1111 ", "2222 is no card"], strict=True
        )
    )
    stream += chat_chunk({}, "stop", 0) + chat_chunk({}, "stop", 1) + b"data: [DONE]\n\n"
    out = masked(stream)
    assert content(out) == "[CREDIT_CARD] ok"
    assert content(out, member="reasoning_content") == "[EMAIL]!"
    assert content(out, 1) == "4111 1111 2222 is no card"


def test_what_is_held_goes_out_before_the_event_that_ends_its_text() -> None:
    out = masked(chat_chunk({"content": "call 4111"}) + chat_chunk({}, "stop") + b"data: [DONE]\n\n")
    found = values(out)
    assert [choice["delta"].get("content") for value in found for choice in value["choices"]] == ["call ", "4111", None]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert out.endswith(b"data: [DONE]\n\n")


def test_what_is_held_goes_out_with_an_end_that_carries_text_itself() -> None:
    out = masked(chat_chunk({"content": "call "}) + chat_chunk({"content": "4111"}, "stop"))
    assert [value["choices"][0]["delta"]["content"] for value in values(out)] == ["call ", "4111"]


def test_what_is_held_goes_out_when_the_stream_ends_without_a_word() -> None:
    assert content(masked(chat_chunk({"content": "call 4111"}))) == "call 4111"


def test_a_stream_that_breaks_off_lets_go_of_nothing_held() -> None:
    masker = EventStreamMasker(SCANNER, Replacer())
    out = masker.feed(chat_chunk({"content": f"card {CARD[:-1]}"}) + b'data: {"choices":[{"delta":{"content":"4')
    assert b"4111" not in out


def test_an_event_that_was_cut_off_is_dropped() -> None:
    whole = chat_chunk({"content": "well "})
    assert masked(whole + f'data: {{"choices":[{{"delta":{{"content":"{CARD}'.encode()) == whole
    assert masked(whole + b"data: [DONE]\n").startswith(whole + b"data: [DONE]\n")


def test_fields_numbers_and_other_lines_stay_as_they_were_when_a_text_changes() -> None:
    lines = [b"id: 5", b"event: message", b'data: {"x": 1.50, "big":123456789012345678901234567890,']
    lines += [b'data: "choices":[{"index":0,"delta":{"content":"bob@example.com!"}}]}', b"", b""]
    raw = b"\r\n".join(lines)
    assert masked(raw) == raw.replace(b"bob@example.com", b"[EMAIL]")


def test_values_outside_the_texts_are_masked_too() -> None:
    stream = chat_chunk({"content": "ok "}).replace(b'"gpt-5"', b'"bob\\u0040example.com", "x":4111111111111111')
    (value,) = values(masked(stream))
    assert (value["model"], value["x"], value["choices"][0]["delta"]["content"]) == ("[EMAIL]", "[CREDIT_CARD]", "ok ")


def test_tokens_with_probabilities_are_left_out_where_a_value_is_spelt() -> None:
    def chunk(text: str) -> bytes:
        stream = json.loads(chat_chunk({"content": text})[6:])
        stream["choices"][0]["logprobs"] = {"content": [{"token": text, "top_logprobs": []}]}
        return event(stream)

    stream = chunk("my card ") + b"".join(chunk(part) for part in ("4111 ", "1111 ", "1111 ", "1111", " thanks. "))
    out = masked(stream + chat_chunk({}, "stop"))
    assert re.search(rb"4111|1111", out) is None
    assert values(out)[0]["choices"][0]["logprobs"]["content"][0]["token"] == "my card "


_SPELT = "Write bob@example.com now! "
_TOKENS = [{"token": token, "bytes": list(token.encode())} for token in ("Write ", "bob", "@", "example", ".com now! ")]
_PART = {"type": "output_text", "text": _SPELT, "logprobs": _TOKENS}
_ITEM = {"id": "msg_1", "type": "message", "content": [_PART]}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "response.output_text.done", **_PLACE, "text": _SPELT, "logprobs": _TOKENS},
        {"type": "response.content_part.done", **_PLACE, "part": _PART},
        {"type": "response.output_item.done", "output_index": 0, "item": _ITEM},
        {"type": "response.completed", "response": {"id": "r", "output": [_ITEM]}},
        {"candidates": [{"content": {"parts": [{"text": _SPELT}]}, "logprobsResult": {"chosenCandidates": _TOKENS}}]},
        {"model": "llama", "message": {"content": _SPELT}, "logprobs": _TOKENS, "done": True},
        {"choices": [{"index": 0, "message": {"content": _SPELT}, "logprobs": {"content": _TOKENS}}]},
    ],
    ids=lambda value: value.get("type", next(iter(value))),
)
def test_tokens_are_left_out_however_deep_an_event_repeats_them(value: dict[str, object]) -> None:
    out = masked(event(value))
    assert b"Write [EMAIL] now! " in out
    assert b'"token"' not in out
    kept = json.dumps(value).replace("@", "_")
    assert masked(f"data: {kept}\n\n".encode()) == f"data: {kept}\n\n".encode()


def test_errors_pings_and_unknown_events_are_masked_by_themselves() -> None:
    error = b'event: error\ndata: {"error":{"message":"bob\\u0040example.com"}}\n\n'
    raw = b": bob@example.com\n\n" + error + b"data: bob@example.com\n\n"
    out = masked(raw)
    assert b"bob" not in out
    assert json.loads(out.split(b"data: ")[1].split(b"\n")[0]) == {"error": {"message": "[EMAIL]"}}


def test_an_answer_in_a_json_schema_stays_json() -> None:
    text = json.dumps({"mail": "bob@example.com", "card": 4111111111111111}).replace("@", "\\u0040")
    for at in range(len(text)):
        out = masked(TEXTS[0].write([text[:at], text[at:]]))
        assert json.loads(TEXTS[0].read(out)) == {"mail": "[EMAIL]", "card": "[CREDIT_CARD]"}


def test_thinking_goes_out_before_its_signature() -> None:
    start = event({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}})
    think = event({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so 41"}})
    sign = event({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "Eq"}})
    deltas = [value["delta"] for value in values(masked(start + think + sign)) if "delta" in value]
    assert [delta.get("thinking", delta.get("signature")) for delta in deltas] == ["so ", "41", "Eq"]


@pytest.mark.parametrize(
    "stream",
    [
        chat_chunk({"content": "4111 1111 "}) + chat_chunk({}, "stop") + chat_chunk({"content": "1111 1111"}),
        b'data: {"choices":[{"delta":{"content":"4111 1111 ","content":"x"}}]}\n\n',
    ],
    ids=["a text goes on after its end", "a key comes twice"],
)
def test_what_could_hide_a_value_is_refused(stream: bytes) -> None:
    with pytest.raises(MaskingError):
        masked(stream)


def test_after_an_error_nothing_more_goes_out() -> None:
    masker = EventStreamMasker(SCANNER, Replacer())
    for _ in range(2):
        with pytest.raises(MaskingError):
            masker.feed(b'data: {"a":1,"a":2}\n\ndata: {"b":1}\n\n')


def test_an_event_has_a_largest_size() -> None:
    framing = sse.Framing()
    framing.receive(b"x" * EVENT_LIMIT)
    with pytest.raises(MaskingError):
        framing.receive(b"x")


@given(
    blocks=st.lists(st.sampled_from([b"data: x", b"data:y\n", b": c", b"event: e\ndata: 1\ndata: 2", b""]), max_size=6),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    data=st.data(),
)
def test_framing_gives_the_same_bytes_at_any_cut(blocks: list[bytes], newline: bytes, data: st.DataObject) -> None:
    raw = b"".join((block + b"\n\n").replace(b"\n", newline) for block in blocks)
    framing = sse.Framing()
    at = data.draw(st.integers(0, len(raw)))
    found = framing.receive(raw[:at]) + framing.receive(raw[at:])
    assert b"".join(each.raw for each in found) + framing.rest == raw
    assert [each.data for each in found if each.data] == [each.data for each in sse.Framing().receive(raw) if each.data]


_JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["4111 1111 ", "1111 1111", "stop", "bob@", "x.com ", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "index",
                    "finish_reason",
                    "type",
                    "text",
                    "tool_calls",
                    "function",
                    "arguments",
                    "candidates",
                    "parts",
                    "logprobs",
                    "message",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
_TYPES = st.sampled_from(
    [
        "response.output_text.delta",
        "response.output_text.done",
        "response.completed",
        "content_block_delta",
        "content_block_stop",
        "message_start",
    ]
)


@settings(max_examples=300, deadline=None)
@given(events=st.lists(st.tuples(_JSONISH, _TYPES), max_size=6), data=st.data())
def test_hostile_events_raise_nothing_else_and_leak_nothing(events, data) -> None:  # type: ignore[no-untyped-def]
    raw = b"".join(event({**value, "type": kind} if isinstance(value, dict) else value) for value, kind in events)
    cut = data.draw(st.integers(0, len(raw)))
    try:
        out = masked(raw, [cut])
    except MaskingError:
        return
    assert b"4111 1111 1111 1111" not in out
    texts = reassemble(out) or {}
    for name, text in texts.items():
        assert not (isinstance(text, str) and "4111 1111 1111 1111" in text), name


@settings(max_examples=200, deadline=None)
@given(
    raw=st.binary(max_size=80)
    | st.lists(
        st.sampled_from([b"data: ", b"{", b"}", b"\n", b"\r", b'"a":', b"[DONE]", b"\xff", b"bob@x.com", b":", b" "])
    ).map(b"".join)
)
def test_hostile_bytes_raise_nothing_else(raw: bytes) -> None:
    with contextlib.suppress(MaskingError):
        assert b"bob@x.com" not in masked(raw)


def test_other_lines_of_the_last_event_are_masked() -> None:
    assert masked(b"id: bob@x.com\ndata: [DONE]\n\n") == b"id: [EMAIL]\ndata: [DONE]\n\n"
    assert masked(b"id: 7\ndata:[DONE]\n\n") == b"id: 7\ndata:[DONE]\n\n"


def _delta(name: str, text: str) -> bytes:
    match name:
        case "transcript":
            return event({"type": "transcript.text.delta", "delta": text})
        case "assistants":
            part = {"index": 0, "type": "text", "text": {"value": text}}
            return event({"object": "thread.message.delta", "id": "msg_1", "delta": {"content": [part]}})
        case "messages":
            delta = {"type": "compaction_delta", "content": text}
            return event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
        case "gemini":
            part = {"content": {"parts": [{"text": text}]}, "index": 0, "finishReason": "STOP"}
            return event({"candidates": [part]})
    return chat_chunk({"role": "assistant", name: text})


def _said(node: object) -> str:
    """Every text in an event that is neither a name nor a state."""
    if isinstance(node, dict):
        left_out = ("type", "object", "id", "role", "model", "finishReason", "finish_reason")
        return "".join(_said(value) for name, value in node.items() if name not in left_out)
    return "".join(map(_said, node)) if isinstance(node, list) else node if isinstance(node, str) else ""


@pytest.mark.parametrize("name", ["reasoning_text", "analysis", "transcript", "assistants", "messages", "gemini"])
def test_texts_under_any_name_are_masked_across_events(name: str) -> None:
    text = f"Pay with {CARD}, or ask bob@example.com"
    for at in range(len(text) + 1):
        stream = b"".join(_delta(name, part) for part in (text[:at], text[at:], "!"))
        out = masked(stream)
        assert "".join(map(_said, values(out))) == "Pay with [CREDIT_CARD], or ask [EMAIL]!"
        assert masked(stream, range(len(stream))) == out


def test_the_end_of_a_text_under_any_name_lets_go_of_what_was_held() -> None:
    done = {"type": "transcript.text.done", "text": "call 4111"}
    out = values(masked(_delta("transcript", "call ") + _delta("transcript", "4111") + event(done)))
    assert [value.get("delta", value.get("text")) for value in out] == ["call ", "", "4111", "call 4111"]


def test_other_lines_are_masked_as_one_text() -> None:
    key = b": -----BEGIN PRIVATE KEY-----\n: " + b"QUJD" * 12 + b"\n: -----END PRIVATE KEY-----\n"
    assert masked(key + b'data: {"choices":[]}\n\n') == b': [PRIVATE_KEY]\ndata: {"choices":[]}\n\n'


def test_the_record_has_the_answer_as_one() -> None:
    stream = TEXTS[0].write(["Hel", "lo ", "you"])
    assert reassemble(stream) == {"model": "gpt-5", "usage": {"total_tokens": 12}, "0.content": "Hello you"}
    tool = reassemble(DOCUMENTS[0].write(['{"a"', ": 1}"]))
    assert tool is not None
    assert tool["0.tool_calls.0.function.arguments"] == '{"a": 1}'
    assert reassemble(b"data: hello\n\n") is None


@pytest.mark.parametrize("shape", [*TEXTS, *DOCUMENTS], ids=lambda shape: shape.name)
def test_an_answer_is_put_together_while_it_streams_and_kept_up_to_a_limit(shape) -> None:  # type: ignore[no-untyped-def]
    stream = shape.write(['{"a": "word one', " and word two", '"}'])
    for size in (1, 30, 1000):
        whole, short = Reassembly(10_000), Reassembly(20)
        for at in range(0, len(stream), size):
            whole.feed(stream[at : at + size])
            short.feed(stream[at : at + size])
        assert whole.answer(complete=True) == reassemble(stream)
        kept = sum(len(text) for name, text in (short.answer(complete=True) or {}).items() if name not in FACTS)
        assert (whole.cut, short.cut) == (False, True)
        assert kept < 20


def test_what_an_answer_is_put_together_from_is_bounded() -> None:
    keys = Reassembly(100_000)
    for index in range(CHANNELS_LIMIT + 1):
        keys.feed(chat_chunk({"content": "x"}, index=index))
    assert keys.cut
    assert len(keys.answer(complete=True) or {}) <= CHANNELS_LIMIT + 3
    large = Reassembly(100_000)
    large.feed(chat_chunk({"content": "kept"}))
    large.feed(b"data: " + b"x" * RECORDED_EVENT_LIMIT)
    large.feed(b"\n\n" + chat_chunk({"content": "lost"}))
    assert large.cut
    assert (large.answer(complete=True) or {})["0.content"] == "kept"


# --- lines of JSON -------------------------------------------------------------------------------------------


def lines(raw: bytes, cuts: list[int] | None = None) -> bytes:
    masker = masker_for("application/x-ndjson", Rules(SCANNER, Replacer()))
    edges = [0, *sorted(cuts or []), len(raw)]
    parts = [raw[start:end] for start, end in pairwise(edges)]
    return b"".join(masker.feed(part) for part in parts) + masker.close()


def ollama(parts: list[str]) -> bytes:
    told = [{"model": "llama", "message": {"role": "assistant", "content": part}, "done": False} for part in parts]
    told.append({"model": "llama", "message": {"role": "assistant", "content": ""}, "done": True})
    return b"".join(json.dumps(each).encode() + b"\n" for each in told)


def test_lines_of_a_model_are_one_text() -> None:
    text = "card 4111 1111 1111 1111 and bob@example.com!"
    for at in range(len(text) + 1):
        stream = ollama([text[:at], text[at:]])
        out = lines(stream, [at])
        assert "".join(json.loads(line)["message"]["content"] for line in out.splitlines()) == (
            "card [CREDIT_CARD] and [EMAIL]!"
        )
        assert json.loads(out.splitlines()[-1])["done"] is True


def test_other_lines_are_masked_one_by_one_and_pass_byte_by_byte() -> None:
    raw = b'{"a": 1.50, "b":"\\/"}\r\n\n{"mail":"bob\\u0040example.com"}\n{"last":"ann@example.com"}'
    expected = b'{"a": 1.50, "b":"\\/"}\r\n\n{"mail":"[EMAIL]"}\n{"last":"[EMAIL]"}'
    for at in range(len(raw) + 1):
        assert lines(raw, [at]) == expected


def test_a_line_that_was_cut_off_is_dropped() -> None:
    assert lines(b'{"a":1}\n{"card":"4111 1111 1111 11') == b'{"a":1}\n'
