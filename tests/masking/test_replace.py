"""The four styles, and tokens turned back into values."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.masking import MaskingConfigError, MaskingError, Match, Replacer, Style, restore, tokens
from services.ingress.masking import replace as replacing
from tests.masking.helpers import KEY, everything, whole

_EMAIL = Match(0, 15, "EMAIL", "bob@example.com")


def test_label() -> None:
    assert Replacer().replace(_EMAIL) == "[EMAIL]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("4111111111111111", "****1111"), ("short", "****"), ("x" * 11, "****"), ("bob@example.com", "****")],
)
def test_partial_shows_four_of_a_long_value(value: str, shown: str) -> None:
    assert Replacer("partial").replace(Match(0, 1, "CREDIT_CARD", value)) == shown


@pytest.mark.parametrize("style", [Style.HASH, Style.TOKEN])
def test_keyed_styles(style: Style) -> None:
    first, again, other = Replacer(style, KEY), Replacer(style, KEY), Replacer(style, b"o" * 32)
    assert first.replace(_EMAIL) == again.replace(_EMAIL) != other.replace(_EMAIL)
    assert first.replace(_EMAIL) != first.replace(Match(0, 1, "EMAIL", "eve@example.com"))
    assert "bob" not in first.replace(_EMAIL)
    with pytest.raises(MaskingConfigError, match="32 bytes"):
        Replacer(style, b"short")


def test_forms() -> None:
    assert re.fullmatch(r"EMAIL#[0-9a-f]{16}", Replacer("hash", KEY).replace(_EMAIL))
    assert re.fullmatch(r"EMAIL_[a-z2-7]{16}", Replacer("token", KEY).replace(_EMAIL))


def test_pairs_are_handed_over_once() -> None:
    replacer = Replacer("token", KEY)
    token = replacer.replace(_EMAIL)
    assert replacer.replace(_EMAIL) == token
    assert replacer.take_pairs() == {token: "bob@example.com"}
    assert replacer.take_pairs() == {}


def test_two_values_never_share_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "placeholder", lambda entity, digest: "EMAIL_aaaaaaaaaaaaaaaa")
    replacer = Replacer("token", KEY)
    replacer.replace(_EMAIL)
    with pytest.raises(MaskingError):
        replacer.replace(Match(0, 1, "EMAIL", "eve@example.com"))


def test_restore_knows_its_tokens_among_others() -> None:
    replacer = Replacer("token", KEY)
    token = replacer.replace(_EMAIL)
    pairs = replacer.take_pairs()
    text = f'{{"to": "{token}", "id": "EMAIL_aaaaaaaaaaaaaaaa", "x": "{token}x"}}'
    assert tokens(text) == {token, "EMAIL_aaaaaaaaaaaaaaaa"}
    assert restore(text, pairs.get) == text.replace(f'"{token}"', '"bob@example.com"')


@given(
    st.lists(st.sampled_from(["bob@example.com", " and ", "4111 1111 1111 1111", "é", "10.1.2.3", ", "])).map(" ".join)
)
def test_tokens_restore_the_very_text(text: str) -> None:
    replacer = Replacer("token", KEY)
    from services.ingress.masking import mask_text

    masked, _ = mask_text(text, everything(), replacer)
    assert restore(masked, replacer.take_pairs().get) == text


def test_the_same_value_has_the_same_token_in_every_text() -> None:
    one, two = (whole(text, everything(), "token")[0] for text in ("to bob@example.com", '{"cc":"bob@example.com"}'))
    assert tokens(one) == tokens(two)
