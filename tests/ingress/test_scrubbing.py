"""Our credential does not come back from an upstream that repeats it, however it is cut up (G3)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.scrubbing import SHORTEST, Scrubber, scrub, spellings

SECRET = "abcabcabd/é"
WRITTEN = spellings([f"Bearer {SECRET}"])


def fed(pieces: list[bytes]) -> bytes:
    scrubber = Scrubber(WRITTEN)
    return b"".join([*(scrubber.feed(piece) for piece in pieces), scrubber.close()])


@pytest.mark.parametrize("form", [SECRET, f"Bearer {SECRET}", "abcabcabd%2F%C3%A9"])
def test_every_spelling_is_taken_out_and_the_length_stays(form: str) -> None:
    text = f'{{"you sent": "{form}"}}'
    clean = fed([text.encode()])
    assert clean == text.replace(form, "*" * len(form.encode())).encode()
    assert len(clean) == len(text.encode())
    assert SECRET not in scrub(text, WRITTEN)


@given(st.lists(st.sampled_from([SECRET, "abcabc", "ab", "x", "abd/é", ""])), st.lists(st.integers(0, 60), max_size=8))
def test_where_a_body_is_cut_changes_nothing(words: list[str], cuts: list[int]) -> None:
    whole = "".join(words).encode()
    places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    assert fed(pieces) == fed([whole])
    assert SECRET.encode() not in fed(pieces)


def test_only_what_may_be_its_beginning_is_held_back() -> None:
    scrubber = Scrubber(WRITTEN)
    assert scrubber.feed(b"data: token abca") == b"data: token "
    assert scrubber.feed(b"x") == b"abcax"
    assert scrubber.close() == b""


def test_what_would_be_found_by_chance_is_left_alone() -> None:
    assert spellings(["abc"]) == ()
    assert len(spellings(["a" * SHORTEST])) == 1
