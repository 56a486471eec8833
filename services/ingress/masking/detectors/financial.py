"""Payment cards, IBANs and US bank routing numbers, each with its check digits."""

from __future__ import annotations

import re
from functools import lru_cache

from stdnum import iban, luhn
from stdnum.us import rtn

from services.ingress.masking.detectors.detector import Detector, when

# Issuer prefixes and lengths as the networks publish them: visa, mastercard, american express, discover, jcb,
# diners club, unionpay, maestro. A Luhn digit alone lets one random number in ten through.
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}(?:\d{3})?|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|62\d{14,17}|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"
)


def _card(value: bytes) -> bool:
    number = re.sub(rb"[ -]", b"", value).decode("ascii")
    return _CARD.fullmatch(number) is not None and luhn.is_valid(number) and len(set(number)) > 1


@lru_cache(maxsize=256)
def _iban_length(country_and_check: str) -> int:
    """How many characters an IBAN of this country has (the ISO 13616 registry, as python-stdnum ships it)."""
    for length in range(15, 35):
        info = iban._ibandb.info(country_and_check + "0" * (length - 4))[0][1]
        structure = info.get("bban", "")
        if structure:
            return 4 + sum(int(count) for count in re.findall(r"(\d+)!?[nace]", structure))
    return 0


def _iban(value: bytes) -> int:
    """Exactly as many characters as the country's IBANs have; what follows them is other text."""
    kept = _leading(value, _iban_length(value[:4].decode("ascii")))
    if not kept:
        return 0
    return len(kept) if iban.is_valid(kept.decode("ascii"), check_country=False) else 0


def _leading(value: bytes, wanted: int) -> bytes:
    count = 0
    for index, byte in enumerate(value):
        count += byte not in b" -"
        if wanted and count == wanted:
            followed = value[index + 1 : index + 2].isalnum()
            return b"" if followed else value[: index + 1]
    return b""


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "CREDIT_CARD",
        r"\b[2-6]\d{3}[ -]?\d{4}[ -]?\d{4}",
        r"(?<!\.)[2-6]\d{3}(?:\d{8,15}|(?:[ -]\d{4}){3}(?:[ -]?\d{3})?)(?![A-Za-z0-9_])",
        when(_card),
        whole_word=True,
    ),
    # American Express is printed four, six, five; Diners Club four, six, four.
    Detector(
        "CREDIT_CARD",
        r"\b3\d{3}[ -]\d{6}[ -]\d{4}",
        r"(?<!\.)3\d{3}[ -]\d{6}[ -]\d{4,5}(?![A-Za-z0-9_])",
        when(_card),
        whole_word=True,
    ),
    Detector(
        "IBAN",
        r"\b[A-Z]{2}\d{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{3}",
        r"(?<![A-Za-z0-9_])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}",
        _iban,
    ),
    Detector(
        "US_ROUTING_NUMBER",
        r"(?i:routing|\baba\b)",
        r"\b\d{9}(?![A-Za-z0-9_])",
        when(lambda value: bool(rtn.is_valid(value.decode("ascii")))),
        context=r"(?i:routing|\baba\b)",
        gap=40,
    ),
)
