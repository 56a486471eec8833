"""Forms, markup, multipart, charsets and codings: whole, in parts, and as the inspector is asked for them."""

from __future__ import annotations

import gzip
import html
import json
import re
import zlib
from itertools import pairwise
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from schemas.verdicts import MaskObligation
from services.ingress.content import MAX_MEMBERS, Content, media_type
from services.ingress.errors import Denied, GatewayError
from services.ingress.inspection import OPAQUE, Inspector
from services.ingress.masking import ENTITIES, MaskingError, Replacer
from services.ingress.masking.structure.document import Rules, masker_for
from services.ingress.masking.structure.limits import INFLATE_LIMIT
from tests.masking.corpus import positives
from tests.masking_structure.streams import SCANNER, TEXTS

INSPECTOR = Inspector(b"k" * 32)
SETS = ("secrets", "pii", "financial")
MASK = MaskObligation(request=SETS, response=SETS)
FORM = "application/x-www-form-urlencoded"


def mask(data: bytes, declared: str, cuts: list[int] | None = None) -> bytes:
    masker = masker_for(declared, Rules(SCANNER, Replacer()))
    edges = [0, *sorted(cuts or []), len(data)]
    return b"".join(masker.feed(data[start:end]) for start, end in pairwise(edges)) + masker.close()


def request(data: bytes, declared: str, coding: str = "", rule: MaskObligation = MASK) -> bytes:
    return INSPECTOR.mask(Content(data, media_type(declared), coding), rule).data


def reply(
    data: bytes, declared: str, coding: str = "", rule: MaskObligation = MASK, action: str = "", size: int = 7
) -> bytes:
    masker = INSPECTOR.reply(media_type(declared), coding, rule, action)
    assert masker
    return b"".join(masker.feed(data[at : at + size]) for at in range(0, len(data), size)) + masker.close()


@pytest.mark.parametrize("entity", ENTITIES)
def test_values_of_every_detector_in_a_form_and_in_markup_at_every_split(entity: str) -> None:
    for sample in list(positives(entity, 3)):
        form = urlencode({"a": "1", "text": sample.text, "z": "2"}).encode()
        page = f"<p a='1'>{''.join(f'&#{ord(char)};' for char in sample.text)}</p>".encode()
        for data, declared in ((form, FORM), (page, "text/html")):
            whole = mask(data, declared)
            for at in range(0, len(data) + 1, 1 if len(data) < 160 else 23):
                assert mask(data, declared, [at]) == whole
        said = dict(parse_qsl(mask(form, FORM).decode(), keep_blank_values=True))
        assert (said["a"], said["z"]) == ("1", "2")


def test_most_values_of_every_detector_are_found_in_forms_and_markup() -> None:
    for entity in ENTITIES:
        samples = list(positives(entity, 10))
        forms = [dict(parse_qsl(mask(urlencode({"q": s.text}).encode(), FORM).decode())).get("q", "") for s in samples]
        pages = [html.unescape(mask(f"<p>{html.escape(s.text)}</p>".encode(), "text/html").decode()) for s in samples]
        assert sum(s.value in said for s, said in zip(samples, forms, strict=True)) <= 1, entity
        assert sum(s.value in said for s, said in zip(samples, pages, strict=True)) <= 1, entity


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        (FORM, b"email=bob%40example.com&x=a+b%20c", b"email=%5BEMAIL%5D&x=a+b%20c"),
        (FORM, b"password=a%26b%27c9&ok=1", b"password=%5BPASSWORD%5D&ok=1"),
        ("text/html", b"<a href='mailto:bob&commat;example.com'>&amp;</a>", b"<a href='mailto:[EMAIL]'>&amp;</a>"),
        ("application/xml", b"<password>hunter2x</password>", b"<password>[PASSWORD]</password>"),
        ("text/xml", b"<password>hun&lt;ter\t22 9</password>", b"<password>[PASSWORD]</password>"),
        ("text/xml", b"<password>my secret pass 9</password>", b"<password>[PASSWORD]</password>"),
        ("text/xml", b"<Password x='1'>\n hunter22\n</Password>", b"<Password x='1'>[PASSWORD]</Password>"),
        (
            "text/xml",
            b"<a:password><![CDATA[a <b ]> 9]]></a:password> x",
            b"<a:password><![CDATA[[PASSWORD]]]></a:password> x",
        ),
        ("text/xml", b'<u password="a&quot;b9c8&gt;d7" a="b &quot; c"/>', b'<u password="[PASSWORD]" a="b &quot; c"/>'),
        ("text/xml", b"<apiKey>\n Ab3dE6gH9jK2mN5pQ8sTu</apiKey>", b"<apiKey>\n [HIGH_ENTROPY]</apiKey>"),
        ("text/xml", b"<api_key>Ab3dE6gH9jK2mN5pQ8sTu</api_key>", b"<api_key>[HIGH_ENTROPY]</api_key>"),
        ("text/xml", b"<Key>Ab3dE6gH9jK2mN5pQ8sTu</Key>", b"<Key>Ab3dE6gH9jK2mN5pQ8sTu</Key>"),
        ("text/xml", b"<NextToken>Ab3dE6gH9jK2mN5pQ8sTu</NextToken>", b"<NextToken>Ab3dE6gH9jK2mN5pQ8sTu</NextToken>"),
        ("text/xml", b"<pin>4821</pin><password/>a b c", b"<pin>[PASSWORD]</pin><password/>a b c"),
        ("text/html", b"<![CDATA[bob&#64;example.com]]> <b", b"<![CDATA[[EMAIL]]]> <b"),
        ("text/html", "<p>bob\u200b@exa\u00admple.com\ufeff</p>".encode(), b"<p>[EMAIL]\xef\xbb\xbf</p>"),
        ("image/svg+xml", b"<t>bob&#x40;example.com &nbsp;</t>", b"<t>[EMAIL] &nbsp;</t>"),
        ("text/html", b"<p>bob&#8203;@example.com AT&T</p>", b"<p>[EMAIL] AT&T</p>"),
        ("text/plain", b"mail bob@example.com \xe2\x82\xac", b"mail [EMAIL] \xe2\x82\xac"),
        ("text/plain", rb'{"mail":"bob\u0040example.com"}', b'{"mail":"[EMAIL]"}'),
        ("text/plain", b"[note] bob@example.com", b"[note] [EMAIL]"),
        ("", b"", b""),
    ],
)
def test_what_is_found_is_written_as_its_place_wants_it(declared: str, data: bytes, expected: bytes) -> None:
    for at in range(len(data) + 1):
        assert mask(data, declared, [at]) == expected
    assert request(data, declared) == expected


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8"])
def test_every_charset_is_written_as_it_was_read(charset: str) -> None:
    text = '{"a":"né bob@example.com"}'
    declared = f"application/json; charset={charset}"
    expected = text.replace("bob@example.com", "[EMAIL]")
    if charset == "utf-16-le":  # its NULs look like no text to whoever asks for a whole body
        assert reply(text.encode(charset), declared).decode(charset) == expected
        return
    assert request(text.encode(charset), declared).decode(charset) == expected
    assert reply(text.encode(charset), declared).decode(charset) == expected


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("text/plain; charset=klingon", b"\xff\xfe\x00"),
        ("text/plain; charset=utf-16", b"\xff\xfe\x00"),
        ("application/json; charset=utf-16", b'{"a":"bob@example.com "}'),
        ("application/json; charset=utf-16le", b'{"a":"bob@example.com "}'),
        ("application/json; charset=utf-16be", b'{"a":"bob@example.com "}'),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_a_reply_that_cannot_be_read_is_refused(declared: str, data: bytes, size: int) -> None:
    with pytest.raises(GatewayError) as refused:
        reply(data, declared, size=size)
    assert (refused.value.status, refused.value.code) == (502, "mask_failed")


def test_encoded_content_is_unpacked() -> None:
    data = b'{"a":"bob@example.com"}'
    for coding, packed in (("gzip", gzip.compress(data)), ("deflate", zlib.compress(data))):
        assert request(packed, "application/json", coding) == b'{"a":"[EMAIL]"}'
        assert reply(packed, "application/json", coding) == b'{"a":"[EMAIL]"}'
    twice = gzip.compress(b'{"a":"bob@exam') + gzip.compress(b'ple.com"}')
    assert reply(twice, "application/json", "gzip") == b'{"a":"[EMAIL]"}'
    assert request(twice, "application/json", "gzip") == b'{"a":"[EMAIL]"}'


def test_every_member_of_an_encoded_body_is_inspected() -> None:
    hidden = gzip.compress(b"note: hello\n") + gzip.compress(b"bob@example.com")
    recorded = INSPECTOR.inspect(Content(hidden, media_type("text/plain"), "gzip"))
    assert recorded.findings == {"EMAIL": 1}
    assert recorded.recorded.startswith("note: hello\nEMAIL#")
    window = Content(hidden[:-9], media_type("text/plain"), "gzip", complete=False)
    assert INSPECTOR.inspect(window).recorded.startswith("note: hello")


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("br", b"x"),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"cut off" * 50)[:-9]),
        ("gzip", gzip.compress(b"whole") + b"more"),
        ("gzip", gzip.compress(b"\0" * (INFLATE_LIMIT + 1))),
    ],
    ids=["unknown", "broken", "cut off", "followed", "a bomb"],
)
def test_a_coding_that_cannot_be_undone_is_refused(coding: str, data: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        reply(data, "text/plain", coding, size=1 << 20)
    assert refused.value.code == "mask_failed"
    with pytest.raises(Denied):
        request(data, "text/plain", coding)
    assert INSPECTOR.inspect(Content(data, media_type("text/plain"), coding)).recorded == OPAQUE


def test_a_body_of_more_members_than_anybody_writes_is_not_read() -> None:
    assert Content(gzip.compress(b"x") * MAX_MEMBERS, media_type("text/plain"), "gzip").text == "x" * MAX_MEMBERS
    assert Content(gzip.compress(b"x") * (MAX_MEMBERS + 1), media_type("text/plain"), "gzip").opaque


def test_binary_is_refused_or_passed_as_the_rule_says() -> None:
    image = b"\x89PNG\r\n\x00\xff bob@example.com"
    lenient = MASK.model_copy(update={"binary": "pass"})
    with pytest.raises(Denied):
        request(image, "image/png")
    with pytest.raises(GatewayError):
        reply(image, "image/png")
    assert request(image, "image/png", rule=lenient) == image
    assert reply(image, "image/png", rule=lenient) == image
    assert reply(b"bob@example.com", "image/png", rule=lenient) == b"[EMAIL]"
    for declared in ("application/json", "text/plain", "text/event-stream", FORM, "application/problem+json"):
        with pytest.raises(GatewayError):
            reply(b'{"a":"\xff bob@example.com"}', declared, rule=lenient)
        with pytest.raises(Denied):
            request(b'{"a":"\0 bob@example.com"}', declared, rule=lenient)
    packed = INSPECTOR.mask(Content(b"brotli", media_type("text/plain"), "br"), lenient)
    assert (packed.data, packed.coding) == (b"brotli", "br")


MULTIPART = (
    b'--X\r\nContent-Disposition: form-data; name="bob@example.com"\r\n\r\nann@example.com\r\n'
    b'--X\r\nContent-Type: application/json\r\n\r\n{"a":"bob\\u0040example.com"}\r\n--X--\r\n'
)


def test_the_parts_of_a_multipart_body_are_masked_each_as_what_it_is() -> None:
    out = request(MULTIPART, "multipart/form-data; boundary=X")
    assert out == reply(MULTIPART, "multipart/mixed; boundary=X")
    assert out == (
        b'--X\r\nContent-Disposition: form-data; name="[EMAIL]"\r\n\r\n[EMAIL]\r\n'
        b'--X\r\nContent-Type: application/json\r\n\r\n{"a":"[EMAIL]"}\r\n--X--\r\n'
    )


NAMED_PARTS = (
    b'--X\r\nContent-Disposition: form-data; name="password"\r\n\r\n%s\r\n'
    b'--X \r\nContent-Disposition: form-data; filename="x"; name = user[pin]\r\n\r\n%s\r\n'
    b'--X\r\nContent-Disposition: form-data; name="ssn"\r\nContent-Type: text/plain\r\n\r\n%s\r\n'
    b'--X\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n%s\n'
    b"--X--\r\n-- X bob@example.com\r\n--X\r\n\r\n%s\r\n--X--"
)


def test_the_name_of_a_part_tells_what_it_is_at_every_cut() -> None:
    sent = NAMED_PARTS % (b'"hun ter\'22"', b"4821", b"219099998", b"Ab3dE6gH9jK2mN5pQ8sTu", b'{"a":"\\u0040"}')
    expected = NAMED_PARTS % (b"[PASSWORD]", b"[PASSWORD]", b"[US_SSN]", b"[HIGH_ENTROPY]", b'{"a":"\\u0040"}')
    expected = expected.replace(b"bob@example.com", b"[EMAIL]")
    for at in range(len(sent) + 1):
        assert mask(sent, "multipart/form-data", [at]) == expected
    assert mask(sent, "multipart/form-data", list(range(len(sent)))) == expected
    recorded = INSPECTOR.inspect(Content(sent, media_type("multipart/form-data; boundary=X")))
    assert recorded.findings == {"PASSWORD": 2, "US_SSN": 1, "HIGH_ENTROPY": 1, "EMAIL": 1}


@pytest.mark.parametrize(
    "body", [b"--X\r\n\r\n--X--", b"--X\n\n\n--X--\n", b"--X\r\nfoo\r\n--X--", b"--X\nA: b\n\n--X--"]
)
def test_empty_parts_and_parts_without_a_head_pass_at_every_cut(body: bytes) -> None:
    for at in range(len(body) + 1):
        assert mask(body, "multipart/mixed", [at]) == body


@pytest.mark.parametrize("data", [b"no delimiter", MULTIPART[:-20], MULTIPART.replace(b"Type", b"Transfer-Encoding")])
def test_a_multipart_body_that_is_none_is_refused(data: bytes) -> None:
    declared = "multipart/form-data; boundary=X"
    data = data.replace(b"Encoding: application/json", b"Encoding: base64")
    with pytest.raises(Denied):
        request(data, declared)
    recorded = INSPECTOR.inspect(Content(data, media_type(declared)))
    assert "example.com" not in recorded.recorded


def test_fields_of_what_is_not_json_are_refused() -> None:
    rule = MaskObligation(fields=("$.ssn",))
    assert request(b'{"ssn": 1}', "application/json", rule=rule) == b'{"ssn": null}'
    assert reply(b'{"ssn": 1}', "text/plain", rule=rule) == b'{"ssn": null}'
    with pytest.raises(Denied):
        request(b"<ssn>1</ssn>", "application/xml", rule=rule)
    with pytest.raises(GatewayError):
        reply(b"<ssn>1</ssn>", "application/xml", rule=rule)
    with pytest.raises(Denied):
        request(b"{}", "application/json", rule=MaskObligation(fields=("ssn",)))


def test_a_large_upload_is_masked_as_it_passes() -> None:
    masker = INSPECTOR.upload(media_type("application/json"), "", MASK)
    record = b'{"mail": "bob@example.com", "n": 1.50}'
    body = b"[" + b",".join([record] * 1000) + b"]"
    out = b"".join(masker.feed(body[at : at + 1000]) for at in range(0, len(body), 1000)) + masker.close()
    assert out == body.replace(b"bob@example.com", b"[EMAIL]")
    assert masker.counts == {"EMAIL": 1000}
    with pytest.raises(Denied):
        INSPECTOR.upload(media_type("application/json"), "", MASK).feed(b"\xff")
    parts = INSPECTOR.upload(media_type("multipart/form-data; boundary=X"), "", MASK)
    whole = request(MULTIPART, "multipart/form-data; boundary=X")
    assert b"".join(parts.feed(MULTIPART[at : at + 7]) for at in range(0, len(MULTIPART), 7)) + parts.close() == whole
    with pytest.raises(Denied):
        INSPECTOR.upload(media_type("application/json"), "", MaskObligation(restore=True))


def test_the_path_and_the_query_are_masked_and_otherwise_stay() -> None:
    nothing: CIMultiDict[str] = CIMultiDict()
    head = INSPECTOR.outgoing("/u/bob%40example.com/a+b%2Cc", "q=ann%40example.com&z=%e2%82%ac&&n", nothing, MASK)
    assert (head.path, head.query) == ("/u/%5BEMAIL%5D/a+b%2Cc", "q=%5BEMAIL%5D&z=%e2%82%ac&&n")
    assert head.counts == {"EMAIL": 2}
    tokens = MASK.model_copy(update={"style": "token"})
    head = INSPECTOR.outgoing("/u/bob%40example.com", "q=1", nothing, tokens)
    assert list(head.pairs.values()) == ["bob@example.com"]
    known = MaskObligation(restore=True)
    back = INSPECTOR.outgoing(head.path, head.query, nothing, known, known=head.pairs)
    assert (back.path, back.query) == ("/u/bob%40example.com", "q=1")


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("/u/bob%40example.com/a%20b", "/u/EMAIL#/a%20b"),
        ("/u/bob@example.com", "/u/EMAIL#"),
        ("/card/4111%201111%201111%201111/x", "/card/CREDIT_CARD#/x"),
        ("/v1/caf%C3%A9", "/v1/caf%C3%A9"),
    ],
)
def test_the_record_has_a_path_as_it_came_but_for_its_values(path: str, recorded: str) -> None:
    found = INSPECTOR.path(path)
    assert re.sub("#[0-9a-f]{16}", "#", found.recorded) == recorded
    assert found.findings.total() == recorded.count("#")


@pytest.mark.parametrize(
    ("name", "value", "passed"),
    [
        ("X-Customer", "bob@example.com", "[EMAIL]"),
        ("X-Password", "hunter22x", "[PASSWORD]"),
        ("Referer", "https://a/?mail=bob@example.com", "https://a/?mail=%5BEMAIL%5D"),
        ("X-Note", "bob%40example.com", "%5BEMAIL%5D"),
        ("Set-Cookie", "mail=bob@example.com; Path=/", "mail=[EMAIL]; Path=/"),
        ("Set-Cookie", "csrftoken=Xw1vQ9j3kR7mZp2LsTn8bYcVd4eFgHi5", None),
        ("Idempotency-Key", "stainless-python-retry-8d3c1a7f-4e2b-4c0f-9a1b-2c3d4e5f6a7b", None),
        ("User-Agent", "Mozilla/5.0 (X11) Chrome/120.0.0.0", None),
        ("User-Agent", "agent of bob@example.com", "agent of [EMAIL]"),
        ("X-Client-IP", "203.0.113.7", "[IP_ADDRESS]"),
        ("ETag", '"33a64df551425fcc55e4d42a148795d9f25f89d4"', None),
        ("X-RateLimit-Reset", "1732182350", None),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-4111111111111111-01", None),
        ("AKIAIOSFODNN7EXAMPLE", "x", ""),
    ],
)
def test_a_header_field_is_masked_by_its_value_and_where_it_tells_its_name(
    name: str, value: str, passed: str | None
) -> None:
    fields = CIMultiDict([("Accept", "*/*"), (name, value), ("Date", "Tue, 21 Nov 2026 09:45:50 GMT")])
    expected = dict(fields) | ({name: passed} if passed else {})
    if passed == "":  # nothing is left of it
        del expected[name]
    out, back = INSPECTOR.outgoing("/", "", fields, MASK), INSPECTOR.incoming(fields, MASK)
    assert dict(out.fields) == dict(back.fields) == expected
    assert INSPECTOR.fields(fields) == INSPECTOR.fields(fields) == out.counts == back.counts
    assert bool(out.counts) == (passed is not None)


def test_a_models_whole_reply_leaves_out_what_spells_it_token_by_token() -> None:
    data = b'{"choices":[{"message":{"content":"bob@example.com"},"logprobs":{"content":[{"token":"bob"}]}}]}'
    out = json.loads(reply(data, "application/json", action="llm.chat"))
    assert out == {"choices": [{"message": {"content": "[EMAIL]"}, "logprobs": None}]}


@pytest.mark.parametrize("declared", ["text/plain", "", "application/json", "application/octet-stream", "text/html"])
@pytest.mark.parametrize("before", [b"", b": thinking\n\n", b"\r\nretry: 10\r\nevent: x\r\nid: 7\r\n"])
def test_a_stream_of_events_is_read_as_one_whatever_it_is_declared_as(declared: str, before: bytes) -> None:
    stream = before + TEXTS[0].write(["Your card 4111 1111 ", "1111 1111 is known. "])
    for size in (1, 7, 10_000):
        out = reply(stream, declared, action="llm.chat", size=size)
        assert TEXTS[0].read(out.removeprefix(before)) == "Your card [CREDIT_CARD] is known. "


@pytest.mark.parametrize(
    "text",
    [b"id: 7, of bob@example.com", b"data: {\nx: bob@example.com\n", b"event", b":-) bob@example.com", b"data:\n\n",
     b"id: 1\n" * 5000 + b"bob@example.com", b"retry: 1\n-----BEGIN PRIVATE KEY-----\n\n" + b"QUJD" * 9 + b"\n"],
)  # fmt: skip
def test_text_that_begins_like_a_stream_of_events_stays_text(text: bytes) -> None:
    for size in (1, 5, 100_000) if len(text) < 1000 else (999, 100_000):
        assert reply(text, "text/plain", size=size) == mask(text, "text/plain")


def test_the_record_of_a_stream_is_the_masked_answer() -> None:
    stream = TEXTS[0].write(["Hello bob@exa", "mple.com, my password: correct", "horse"])
    recorded = INSPECTOR.inspect_reply(Content(stream, media_type("text/event-stream")))
    assert json.loads(recorded.recorded)["0.content"].startswith("Hello EMAIL#")
    assert "horse" not in recorded.recorded
    assert recorded.findings == {"EMAIL": 1, "PASSWORD": 1}


def test_the_record_of_a_body_that_went_on_has_no_half_of_a_value() -> None:
    cut = Content(b"my card is 4111 1111 1111 11", media_type("text/plain"), complete=False)
    assert "4111" not in INSPECTOR.inspect(cut).recorded
    stream = TEXTS[0].write(["Use ", "AKIAIOSFODNN7EXAM"])
    cut = Content(stream, media_type("text/event-stream"), complete=False)
    assert json.loads(INSPECTOR.inspect_reply(cut).recorded)["0.content"] == "Use "


def test_the_record_of_what_nobody_can_read_says_so() -> None:
    assert INSPECTOR.inspect(Content(b"\0\xff", media_type("text/plain"))).recorded == OPAQUE


def test_findings_by_role() -> None:
    body = {
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": "write to ann@example.com"},
            {"role": "user", "content": [{"type": "text", "text": "bob@example.com and cy@example.com"}]},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"to":"dan\\u0040example.com"}'}}]},
            {"role": "tool", "content": '{"password": "a\\"b c9", "ssn": 219099998}'},
            {"role": "eve@example.com", "content": [{"ssn": 219099998}]},
        ],
        "tools": [{"function": {"name": "f", "description": "of ann@example.com"}}],
    }
    content = Content(json.dumps(body).encode(), media_type("application/json"))
    found = INSPECTOR.by_role(content, INSPECTOR.inspect(content).findings)
    (named,) = [role for role in found if role.startswith("EMAIL#")]
    assert found == {
        "system": {"EMAIL": 1},
        "user": {"EMAIL": 2},
        "assistant": {"EMAIL": 1},
        "tool": {"PASSWORD": 1, "US_SSN": 1},
        named: {"EMAIL": 1, "US_SSN": 1},
        "other": {"EMAIL": 1},
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prompt": "ann@example.com"}, {"user": {"EMAIL": 1}}),
        ({"prompt": ["a", "ann@example.com"], "system": "x"}, {"user": {"EMAIL": 1}}),
        ({"input": ["ann@example.com"]}, {"user": {"EMAIL": 1}}),
        ({"input": [{"type": "call", "arguments": '{"to":"ann\\u0040example.com"}'}]}, {"assistant": {"EMAIL": 1}}),
        ({"input": [{"type": "function_call_output", "output": "ann@example.com"}]}, {"tool": {"EMAIL": 1}}),
        ({"contents": [{"role": "model", "parts": [{"text": "ann@example.com"}]}]}, {"model": {"EMAIL": 1}}),
        ({"systemInstruction": {"parts": [{"text": "ann@example.com"}]}}, {"system": {"EMAIL": 1}}),
        ({"user": "ann@example.com"}, {"other": {"EMAIL": 1}}),
        (["ann@example.com"], {"other": {"EMAIL": 1}}),
    ],
)  # fmt: skip
def test_findings_by_role_of_each_provider_s_requests(body: object, expected: dict[str, dict[str, int]]) -> None:
    content = Content(json.dumps(body).encode(), media_type("application/json"))
    assert INSPECTOR.by_role(content, INSPECTOR.inspect(content).findings) == expected


@settings(max_examples=200, deadline=None)
@given(
    raw=st.lists(
        st.sampled_from(
            [
                "&",
                "=",
                "%",
                "%4",
                "%40",
                "+",
                "bob",
                "x.com",
                "&#64;",
                "&#",
                "<",
                ">",
                ";",
                "password",
                "</",
                '="',
                "<![CDATA[",
                "]]>",
                "]",
                "\u200b",
                "<password>",
                "&quot;",
                "'",
                " ",
                "a9!x",
            ]
        )
    ),
    declared=st.sampled_from([FORM, "text/html"]),
    data=st.data(),
)
def test_hostile_forms_and_markup_are_the_same_at_any_cut(raw: list[str], declared: str, data: st.DataObject) -> None:
    body = "".join(raw).encode()
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=4))
    assert mask(body, declared, cuts) == mask(body, declared)


@settings(max_examples=100, deadline=None)
@given(fields=st.lists(st.tuples(st.text(max_size=6), st.text(max_size=12)), max_size=5))
def test_a_form_without_values_passes_byte_by_byte(fields: list[tuple[str, str]]) -> None:
    body = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields).encode()
    try:
        out = mask(body, FORM)
    except MaskingError:
        return
    assert out == body or b"%5B" in out
