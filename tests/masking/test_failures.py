"""A detector that fails stops the text: nothing unmasked comes out, and no message quotes the value."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.ingress.masking import (
    BytesStreamMasker,
    MaskingError,
    Match,
    Replacer,
    Scanner,
    StreamMasker,
    mask_bytes,
    mask_text,
)
from services.ingress.masking.detectors import CATALOGUE

_TEXT = "card 4111 1111 1111 1111 and more"


def _broken(value: bytes) -> int:
    raise ValueError(f"cannot judge {value!r}")


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scanner]:
    for detector in CATALOGUE:
        if detector.entity == "CREDIT_CARD":
            monkeypatch.setitem(detector.__dict__, "check", _broken)
    return Scanner(["CREDIT_CARD"])


def test_whole_texts(scanner: Scanner) -> None:
    for call in (
        lambda: scanner.scan(_TEXT),
        lambda: mask_text(_TEXT, scanner, Replacer()),
        lambda: mask_bytes(_TEXT.encode(), scanner, Replacer()),
    ):
        with pytest.raises(MaskingError, match="CREDIT_CARD failed: ValueError") as caught:
            call()
        assert "4111" not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("masker_type", [StreamMasker, BytesStreamMasker])
def test_streams_stay_failed(scanner: Scanner, masker_type: type) -> None:
    parts = [_TEXT, "harmless"]
    masker = masker_type(scanner, Replacer())
    for part in parts:
        with pytest.raises(MaskingError):
            masker.feed(part if masker_type is StreamMasker else part.encode())
    with pytest.raises(MaskingError):
        masker.close()
    assert masker.held == 0


def test_a_failing_replacement_fails_the_stream() -> None:
    class Broken(Replacer):
        def replace(self, match: Match) -> str:
            raise MaskingError("no token could be made")

    masker = StreamMasker(Scanner(["EMAIL"]), Broken())
    with pytest.raises(MaskingError):
        masker.feed("mail bob@example.com now")
    with pytest.raises(MaskingError):
        masker.close()
