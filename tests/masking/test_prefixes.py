"""Every beginning of a match is a beginning to `prefix_pattern`; and the detectors keep its rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.masking.detectors import CATALOGUE, Detector
from services.ingress.masking.ending import compile_ending
from services.ingress.masking.limits import CONTEXT_LIMIT
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
    width = byte_width(parse(detector.context))[1] if detector.context else 0
    # One more for a lookbehind, and what a URL's user name or a header may have more is cut by the pattern itself.
    assert width // 4 + detector.gap < CONTEXT_LIMIT
