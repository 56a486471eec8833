"""Nothing recorded steers a terminal or hides in a page; what is plain stays as it is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.replay.visible import one_line, visible, without_sequences
from tests.record_use.world import ESCAPES

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@given(st.text())
def test_nothing_that_steers_or_hides_is_left(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if unicodedata.category(char) in HIDDEN and char not in "\n\t"]
    assert visible(shown) == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs", "M"))))
def test_plain_text_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "<U+001B>[2J"),
        ("a\rb", "a<U+000D>b"),
        ("a\r\nb", "a\nb"),
        ("\x9b31m", "<U+009B>31m"),
        ("\x7f", "<U+007F>"),
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("\u2028", "<U+2028>"),
        ("\ufeff", "<U+FEFF>"),
        ("soft\xadhyphen", "soft<U+00AD>hyphen"),
        ("tab\tline\n", "tab\tline\n"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_keeps_head_and_tail() -> None:
    assert one_line("DELETE FROM orders\nWHERE " + "x" * 100 + " = 7", 40) == "DELETE FROM orders … xxxxxxxxxxxxxx = 7"
    assert one_line("short", 40) == "short"


@given(st.text(), st.integers(8, 80))
def test_a_line_is_one_line_of_its_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert "\n" not in line
    assert len(line) <= width


def test_a_terminals_output_is_read_without_what_steered_it() -> None:
    assert without_sequences("\x1b]0;title\x07\x1b[1;31mred\x1b[0m\x1b(B plain") == "red plain"
    left = without_sequences(ESCAPES)
    assert left == "red<U+202E>gnp.exe<U+000D><U+0008>"


@given(st.text(alphabet=st.sampled_from("\x1b[]0;m?\x9b\x07\\Pq\x9c2Jab")))
def test_half_a_sequence_is_no_trap(text: str) -> None:
    left = without_sequences(text)
    assert "\x1b" not in left
    assert "\x9b" not in left
