"""Every beginning of a match is a beginning to `prefix_pattern`; and the detectors keep its rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.masking.detectors import CATALOGUE, Detector
from services.ingress.masking.limits import CONTEXT_LIMIT
from services.ingress.masking.linear import compile_ending
from services.ingress.masking.prefixes import byte_width, parse, prefix_pattern

_PATTERNS = [
    "abc", "a|bc", "a*b", "(?:ab){2,3}c", "[a-c]+x?", r"\d{2,4}-\d", "(?i)kEy[^a]{1,3}", "(?:a|b(?:c|d)e)?f",
    r"\bx\b y", "(?s).{2}z", "[^x]y", "a{0,3}b{1,}", "(?:x(?:y(?:z|w))?)+!", "a??b", r"[\w-]+@",
]  # fmt: skip


@pytest.mark.parametrize("pattern", _PATTERNS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_beginning_of_a_match(pattern: str, data: st.DataObject) -> None:
    value = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    for count_limit in (2, 200):
        regex = compile_ending(prefix_pattern(pattern, count_limit))
        for end in range(len(value) + 1):
            assert regex.fullmatch(value[:end].encode()), (pattern, value[:end])


@pytest.mark.parametrize("pattern", ["abc", r"\d{2,4}-\d", "(?:ab){2,3}c"])
def test_what_is_no_beginning(pattern: str) -> None:
    regex = compile_ending(prefix_pattern(pattern))
    for text in ("x", "abx", "12345", "ababcc", "1-"):
        assert not regex.fullmatch(text.encode())


def test_byte_width() -> None:
    assert byte_width(parse("ab{2,3}")) == (3, 4)
    assert byte_width(parse("é|ab")) == (1, 4)
    assert byte_width(parse(r"(?:a[^b]){1,2}\b")) == (2, 10)


@pytest.mark.parametrize("detector", CATALOGUE, ids=lambda each: each.entity)
def test_a_context_fits_what_a_stream_remembers(detector: Detector) -> None:
    """Detectors match bytes, so that the width of the pattern is that of the text; sixteen more for lookbehinds."""
    _, width = re._parser.parse(detector.context).getwidth()  # type: ignore[attr-defined]
    assert width + detector.gap + 16 <= CONTEXT_LIMIT


@pytest.mark.parametrize("detector", CATALOGUE, ids=lambda each: each.entity)
def test_a_value_without_a_context_starts_with_its_anchor(detector: Detector) -> None:
    assert detector.context or detector.anchor
    assert not (detector.gap and not detector.context)
    assert bool(detector.back) == bool(detector.opening)
