"""Masking as it comes equals masking whole, wherever the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.masking import (
    ENTITIES,
    BytesStreamMasker,
    CustomPattern,
    Replacer,
    Scanner,
    StreamMasker,
    mask_bytes,
    scanner_for,
)
from services.ingress.masking.limits import CONTEXT_LIMIT, HOLD_LIMIT
from tests.masking.corpus import any_positives, negatives, positives
from tests.masking.helpers import at_random, everything, in_three, in_two, streamed, streamed_bytes, whole


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_cut_in_two(entity: str) -> None:
    for text, value in positives(entity, 3):
        expected = whole(text, everything())
        assert value not in expected[0]
        for parts in in_two(text):
            assert streamed(parts, everything()) == expected, parts


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_pair_of_cuts_in_and_around_the_value(entity: str) -> None:
    text, value = min(positives(entity, 6), key=lambda sample: len(sample.text))
    at = text.index(value)
    expected = whole(text, everything())
    for parts in in_three(text, at - 3, at + len(value) + 3, step=1 + len(value) // 20):
        assert streamed(parts, everything()) == expected, parts


@pytest.mark.parametrize("entity", ENTITIES)
def test_character_by_character_and_at_random(entity: str) -> None:
    texts = [sample.text for sample in any_positives(entity, 6)] + list(negatives(entity, 12))
    text = " and ".join(texts)
    expected = whole(text, everything())
    assert streamed(text, everything()) == expected
    for seed in range(2):
        assert streamed(at_random(text, seed), everything()) == expected


@pytest.mark.parametrize("entity", ["PASSWORD", "EMAIL", "PRIVATE_KEY"])
def test_every_byte_cut_in_two(entity: str) -> None:
    text = "é🙂" + next(iter(positives(entity, 1))).text + "—✓"
    data = text.encode()
    expected = whole(text, everything())[0].encode()
    for at in range(len(data) + 1):
        assert streamed_bytes((data[:at], data[at:]), everything()) == expected


# Pieces of values, of contexts and of what separates them: their random joins reach the odd corners.
_PIECES = [
    "password", "passwd=", "pwd:", ": ", " = ", '"', "'", '\\"', "b\"", "secret_key", "token:", "is ", "Bearer ",
    "://", "bob:", "p4ss", "@", "@example", ".com", ".", "bob", "git", "AKIA", "ABCDEFGHIJKLMNOP", "sk-", "sk-ant-",
    "proj-", "a1B2c3D4e5F6g7H8i9J0", "ghp_", "eyJhbGciOiJIUzI1NiJ9", "-----BEGIN ", "RSA ", "PRIVATE KEY-----",
    "-----END ", "-----", "-", "\n", "4111", "1111", " ", "+1", "(415) ", "555-", "2671", "ssn ", "123-45-6789",
    "219099998", "DE89", "3704 0044 ", "0532013000", "10.1", ".2.3", "2001:db8:", ":", "::1", "é", "🙂", "_", "$x",
    "aws_secret_access_key=", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "xyz", "0", "9", "--password ", "</", ">",
    "{", "}", "str = ", "\\n", "AcmeCode", "classified", "A" * 70,
]  # fmt: skip

_texts = st.lists(st.sampled_from(_PIECES), max_size=25).map("".join)


def _with_own() -> Scanner:
    own = (CustomPattern("ACME", r"(?i)acme[-\w]*\d?"), CustomPattern("ACCENTED", r"é+[^ ]{1,3}"))
    return scanner_for(frozenset({"secrets", "pii", "financial"}), own, ("classified", "🙂x", "straße"))


@settings(max_examples=400, deadline=None)
@given(text=_texts, seed=st.integers(0, 1000))
def test_random_texts_cut_at_random(text: str, seed: int) -> None:
    assert streamed(at_random(text, seed), everything()) == whole(text, everything())


@settings(max_examples=200, deadline=None)
@given(text=_texts, seed=st.integers(0, 1000))
def test_random_texts_with_own_patterns(text: str, seed: int) -> None:
    assert streamed(at_random(text, seed), _with_own()) == whole(text, _with_own())


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60), text=_texts, cut=st.integers(0, 200))
def test_bytes_that_are_not_utf8_pass_unchanged(data: bytes, text: str, cut: int) -> None:
    mixed = data + text.encode() + data
    expected = mask_bytes(mixed, _with_own(), Replacer())[0]
    assert streamed_bytes((mixed[:cut], mixed[cut:]), _with_own()) == expected


@pytest.mark.parametrize("style", ["label", "partial", "hash", "token"])
def test_every_style_agrees_and_masking_again_changes_nothing(style: str) -> None:
    for entity in ENTITIES:
        text = "; ".join(sample.text for sample in positives(entity, 5))
        masked, counts = whole(text, everything(), style)
        assert streamed(at_random(text, 1), everything(), style) == (masked, counts)
        if style != "partial":
            assert whole(masked, everything(), style) == (masked, {})


def test_words_that_cannot_be_secrets_are_not_delayed() -> None:
    masker = StreamMasker(scanner_for(frozenset({"secrets"})), Replacer())
    for token in ("Hello", ",", " the", " password", " field", " this", " sky", " axe", " page", " 42", "."):
        assert masker.feed(token) == token
    assert masker.held == 0


def test_what_may_become_an_address_waits_for_the_next_word_only() -> None:
    masker = StreamMasker(everything(), Replacer())
    assert [masker.feed(token) for token in ("Hello", " big", " world", ".", " Bye")] == [
        "", "Hello ", "big ", "", "world. ",
    ]  # fmt: skip
    assert masker.close() == "Bye"


def test_a_held_value_is_let_go_as_soon_as_it_cannot_be_one() -> None:
    masker = StreamMasker(scanner_for(frozenset({"secrets"})), Replacer())
    assert masker.feed("see sk-") == "see "
    assert masker.feed("lea") == ""
    assert masker.feed("rn ") == "sk-learn "


@pytest.mark.parametrize("unit", ["a", "sk-", "AKIA", "eyJ", "1", "1 ", "@", "a.", "password=", '"', "-", "+1", "é"])
def test_what_is_held_is_bounded(unit: str) -> None:
    masker = StreamMasker(everything(), Replacer())
    text = f'-----BEGIN PRIVATE KEY----- {"A" * 20} password="' + unit * (40_000 // len(unit))
    parts = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    out = ""
    for part in parts:
        out += masker.feed(part)
        assert masker.held <= HOLD_LIMIT
        assert len(masker._buffer) <= HOLD_LIMIT + CONTEXT_LIMIT + 8
    assert out + masker.close() == whole(text, everything())[0]


def test_a_long_private_key_is_masked_up_to_the_limit() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "QUJD" * 10_000
    masked, _ = whole(text, everything())
    assert masked == "[PRIVATE_KEY]" + text[HOLD_LIMIT:]
    assert streamed([text[:9000], text[9000:30_000], text[30_000:]], everything())[0] == masked


def test_closing_flushes_what_was_held() -> None:
    masker = BytesStreamMasker(everything(), Replacer())
    assert masker.feed(b"mail bob@example.co") == b"mail "
    assert masker.feed(b"m\xc3") == b""
    assert masker.close() == b"[EMAIL]\xc3"
    assert masker.counts == {"EMAIL": 1}
