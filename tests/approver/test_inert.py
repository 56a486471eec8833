"""Strangers' text on a page: nothing unseen, nothing that reorders, nothing lost without being counted."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from services.approver.inert import MAX_MARKS, Excerpt, line, names, pieces, visible


@given(text=st.text(max_size=400), limit=st.integers(10, 300), multiline=st.booleans())
def test_an_excerpt_fits_and_says_what_it_leaves_out(text: str, limit: int, multiline: bool) -> None:
    shown = Excerpt.of(text, limit, multiline=multiline)
    assert len(shown.head) + len(shown.tail) <= limit
    if shown.whole:
        assert shown.head == "".join(pieces(text, multiline=multiline))
    else:
        kept = [visible(character, multiline=multiline) for character in text]
        assert 0 < shown.left_out <= len(text)
        if not any(unicodedata.combining(character) for character in text):
            assert "".join(kept).startswith(shown.head)
            assert "".join(kept).endswith(shown.tail)


@given(text=st.text(max_size=200))
def test_nothing_unseen_is_left(text: str) -> None:
    for character in line(text, 2000):
        assert character == " " or unicodedata.category(character) not in {
            "Cc",
            "Cf",
            "Cs",
            "Co",
            "Cn",
            "Zl",
            "Zp",
            "Zs",
        }


def test_what_is_hidden_is_named() -> None:
    assert line("a\u202eb\u200bc\x00d\ne\u00a0f\ufe0f\u3164") == "a⟨U+202E⟩b⟨U+200B⟩c␀d⏎e⟨U+00A0⟩f⟨U+FE0F⟩⟨U+3164⟩"
    assert "".join(pieces("a\tb\nc", multiline=True)) == "a\tb\nc"
    assert line("naïve 東京 😀") == "naïve 東京 😀"


def test_marks_piled_on_a_letter_do_not_cover_other_lines() -> None:
    shown = line("e" + "\u0301" * 50, 5000)
    assert shown.count("\u0301") == MAX_MARKS
    assert shown.count("⟨U+0301⟩") == 50 - MAX_MARKS


def test_long_names_are_cut_in_the_middle() -> None:
    assert line("a" * 50 + "b" * 50, 20) == "aaaaaaaaaa…80 more…bbbbbbbbbb"
    assert names(()) == "–"
    assert names(("dba", "oncall")) == "dba, oncall"


def test_a_long_text_costs_what_is_shown_of_it() -> None:
    text = "x" * 5_000_000
    assert Excerpt.of(text, 100).left_out == len(text) - 100
