"""The operator's own patterns and deny words."""

from __future__ import annotations

import pytest

from services.ingress.masking import CustomPattern, MaskingConfigError, Scanner, resolve, scanner_for
from services.ingress.masking.limits import CUSTOM_REPEAT_LIMIT
from tests.masking.helpers import in_two, streamed, whole


@pytest.mark.parametrize(
    ("pattern", "text", "masked"),
    [
        (r"ACME-\d{4,6}", "id ACME-12345, ACME-1", "id [OWN], ACME-1"),
        (r"(?i)acme[-\w]*\d?", "an Acme-thing_7.", "an [OWN]."),
        (r"\bcust_[a-z]+\b", "xcust_a cust_abc!", "xcust_a [OWN]!"),
        (r"(?:red|green) (?:fox|hen)s?", "two green hens", "two [OWN]"),
        (r"é+x", "ooéééx", "oo[OWN]"),
        (r"(?i)straße.", "STRAßE1", "[OWN]"),
        (r"[^ ]{3}🙂", "abcé9x🙂 ok", "abc[OWN] ok"),
        (r"a.c", "a\nc abc", "a\nc [OWN]"),
        (r"(?s)a.c", "a\nc", "[OWN]"),
        (r"k\s*=\s*\S+", "k = \t v!", "[OWN]"),
    ],
)
def test_patterns(pattern: str, text: str, masked: str) -> None:
    scanner = Scanner([], [CustomPattern("OWN", pattern)])
    assert whole(text, scanner)[0] == masked
    for parts in in_two(text):
        assert streamed(parts, scanner)[0] == masked, parts


def test_an_open_count_is_bounded() -> None:
    scanner = Scanner([], [CustomPattern("OWN", r"x-\d+")])
    assert whole("x-" + "1" * 300, scanner)[0] == "[OWN]" + "1" * (300 - CUSTOM_REPEAT_LIMIT)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        r"a(?=b)",
        r"(?<!a)b",
        r"(a)\1",
        "^a",
        "a$",
        "a*",
        "",
        r"(?:a{200}){200}",
        "[[:alpha:]]",
        r"\Ba",
        "a{1,20000}",
    ],
)
def test_what_cannot_be_searched_in_a_stream_is_refused(pattern: str) -> None:
    with pytest.raises(MaskingConfigError, match="OWN"):
        Scanner([], [CustomPattern("OWN", pattern)])


@pytest.mark.parametrize("name", ["email", "EMAIL", "DENY_WORD", "1A", "A" * 41, ""])
def test_names_that_are_no_names_or_taken(name: str) -> None:
    with pytest.raises(MaskingConfigError):
        CustomPattern(name, "x")


def test_deny_words_are_literal_whole_and_in_any_case() -> None:
    scanner = Scanner([], deny_words=["Project X+", "Żuraw", "cat"])
    text = "PROJECT X+ and project x; żuraw, ŻURAW; cat, category, a cat."
    masked = "[DENY_WORD] and project x; [DENY_WORD], [DENY_WORD]; [DENY_WORD], category, a [DENY_WORD]."
    assert whole(text, scanner)[0] == masked
    for parts in in_two(text):
        assert streamed(parts, scanner)[0] == masked


def test_an_own_pattern_wins_over_a_built_in_for_the_same_characters() -> None:
    scanner = Scanner(["EMAIL"], [CustomPattern("STAFF", r"[a-z]+@acme\.com")])
    assert whole("bob@acme.com, bob@example.com", scanner)[0] == "[STAFF], [EMAIL]"


def test_names_and_sets() -> None:
    own = CustomPattern("ACME", "acme")
    assert resolve(["financial", "EMAIL", "ACME"], [own]) == {
        "CREDIT_CARD",
        "IBAN",
        "US_ROUTING_NUMBER",
        "EMAIL",
        "ACME",
    }
    with pytest.raises(MaskingConfigError, match="'emails'"):
        resolve(["emails"])
    with pytest.raises(MaskingConfigError):
        Scanner(["secret"])
    with pytest.raises(MaskingConfigError, match="empty"):
        Scanner([], deny_words=[" "])


def test_a_scanner_of_nothing_finds_nothing_and_holds_nothing() -> None:
    scanner = Scanner([])
    assert whole("bob@example.com", scanner) == ("bob@example.com", {})
    assert streamed(["bob@", "example.com"], scanner) == ("bob@example.com", {})


def test_a_compiled_scanner_is_kept() -> None:
    own = (CustomPattern("ACME", "acme"),)
    assert scanner_for(frozenset({"pii"}), own) is scanner_for(frozenset({"pii"}), own)
