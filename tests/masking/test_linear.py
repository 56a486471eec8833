"""No input makes a detector slow: four times the text is four times the work, not sixteen."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from services.ingress.masking import ENTITIES, CustomPattern, Replacer, Scanner, StreamMasker, mask_text, scanner_for
from services.ingress.masking.detectors import CATALOGUE
from tests.masking.corpus import positives
from tests.masking.helpers import everything

_MB = 1_000_000

# For each entity its own beginning without an end, over and over, and the whole value over and over.
_HOSTILE = {
    "PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJ",
    "EMAIL": "a@a.a.a@",
    "PHONE": "+1 2 3 4 5 6 ",
    "IP_ADDRESS": "2001:1:1.1.1.",
    "URL_PASSWORD": "://a:b",
    "PASSWORD": "password=\"\\password: '",
    "HIGH_ENTROPY": "token=a1b2c3d4e5f6g7h8-secret_",
    "CREDIT_CARD": "4111 1111 1111 ",
    "IBAN": "DE89 3704 0044 0532 ",
    "US_SSN": "ssn ssn 123-45-",
}


def _seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    gc.disable()  # its passes over a growing heap are no work of ours
    try:
        for _ in range(2):
            start = time.thread_time()  # of this thread alone: others in the process may be a database's
            work()
            best = min(best, time.thread_time() - start)
    finally:
        gc.enable()
    return best


def _hostile(entity: str) -> str:
    return _HOSTILE.get(entity) or next(iter(positives(entity, 1))).value[:-1] + " "


def _assert_linear(scanner: Scanner, unit: str) -> None:
    """The hits are proportional, and so is the time, with room for noise between 4 and 16 times."""
    small, large = (unit * (size // len(unit)) for size in (_MB // 4, _MB))
    hits = [len(scanner._hits(text.encode())) for text in (small, large)]
    assert hits[1] <= 4.2 * hits[0] + 10
    quick = max(_seconds(lambda: mask_text(small, scanner, Replacer())), 0.002)
    slow = _seconds(lambda: mask_text(large, scanner, Replacer()))
    assert slow <= 12 * quick, (quick, slow)


@pytest.mark.parametrize("entity", ENTITIES)
def test_a_megabyte_made_for_this_detector(entity: str) -> None:
    _assert_linear(scanner_for(frozenset({entity})), _hostile(entity))


@pytest.mark.parametrize(
    "unit", ["a", "1", "a1", "1a", "Aa", "aB1", "a.", "1.", "-", "_", "/", "(", "$", "{", "=", "#"]
)
def test_no_check_is_slow_on_any_value(unit: str) -> None:
    """A check that backtracks exponentially would not come back."""
    for detector in CATALOGUE:
        for value in (unit * 1000, "a" + unit * 1000 + "!", "a1" + unit * 30 + "\\"):
            detector.check(value.encode())


@pytest.mark.parametrize("unit", ["a", "1", "-", "=", "é", '"', "a@", "sk-", "eyJ", " "])
def test_a_megabyte_of_one_thing(unit: str) -> None:
    _assert_linear(everything(), unit)


def test_a_megabyte_for_an_own_pattern() -> None:
    _assert_linear(Scanner([], [CustomPattern("OWN", r"a{1,40}b?c")]), "a")


@pytest.mark.parametrize("unit", ["a", "password=x", "-----BEGIN PRIVATE KEY----- " + "A" * 16, "eyJ", "1 "])
def test_streams_are_linear_too(unit: str) -> None:
    def stream(size: int) -> None:
        masker = StreamMasker(everything(), Replacer())
        text = unit * (size // len(unit))
        for at in range(0, len(text), 64):
            masker.feed(text[at : at + 64])
        masker.close()

    quick = max(_seconds(lambda: stream(25_000)), 0.002)
    # What is held is bounded: beyond that bound the cost of a part no longer grows.
    assert _seconds(lambda: stream(100_000)) <= 12 * quick
