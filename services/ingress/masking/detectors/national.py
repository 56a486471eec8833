"""National identity numbers, checked by python-stdnum.

Most are nine to twelve digits of which one in ten or eleven passes the check, so that order numbers would be
masked by the dozen: a number counts only when a telling word stands at most 40 characters before it. Those
whose form is unmistakable (letters, a fixed punctuation, two check digits) need no word.
"""

from __future__ import annotations

from collections.abc import Callable

from stdnum.au import tfn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.us import itin, ssn

from services.ingress.masking.detectors.detector import Check, Detector, when

_AFTER = r"(?![A-Za-z0-9_])"


def _checked(is_valid: Callable[[str], bool]) -> Check:
    return when(lambda value: bool(is_valid(value.decode("ascii"))))


def _told(entity: str, words: str, shape: str, check: Check) -> Detector:
    """`shape` within 40 characters after one of `words`, on the same line."""
    telling = rf"\b(?i:{words})\b"
    return Detector(entity, telling, rf"\b{shape}{_AFTER}", check, context=telling, gap=40)


def _ssn(value: bytes) -> bool:
    """stdnum wants its own punctuation: three, two and four digits with hyphens."""
    digits = value.translate(None, b" -").decode("ascii")
    return bool(ssn.is_valid(f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"))


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "US_SSN",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"(?<![A-Za-z0-9_.-])\d{3}-\d{2}-\d{4}(?![A-Za-z0-9_-])",
        when(_ssn),
    ),
    _told("US_SSN", r"ssns?|social[ _-]?sec(?:urity)?|soc sec", r"\d{3}[- ]?\d{2}[- ]?\d{4}", when(_ssn)),
    _told("US_ITIN", r"itin|taxpayer", r"9\d{2}[- ]?\d{2}[- ]?\d{4}", _checked(itin.is_valid)),
    _told("CA_SIN", r"sin|social[ _-]?insurance|nas", r"\d{3}[- ]?\d{3}[- ]?\d{3}", _checked(sin.is_valid)),
    _told("GB_NHS", r"nhs", r"\d{3}[- ]?\d{3}[- ]?\d{4}", _checked(nhs.is_valid)),
    Detector(
        "FR_NIR",
        r"\b[12] ?\d{2} ?[0-9]{2} ?[0-9AB]{2} ?\d{3} ?\d{3} ?\d{2}\b",
        rf"(?<![A-Za-z0-9_.-])[12] ?\d{{2}} ?[0-9]{{2}} ?\d[0-9AB] ?\d{{3}} ?\d{{3}} ?\d{{2}}{_AFTER}",
        _checked(nir.is_valid),
    ),
    _told("ES_NIF", r"nif|dni|documento", r"\d{8}-?[A-Z]", _checked(dni.is_valid)),
    _told("ES_NIF", r"nie|nif|extranjero", r"[XYZ]-?\d{7}-?[A-Z]", _checked(nie.is_valid)),
    Detector(
        "IT_CODICE_FISCALE",
        r"\b[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]\b",
        r"(?<![A-Za-z0-9_])[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]"
        + _AFTER,
        _checked(codicefiscale.is_valid),
    ),
    _told(
        "DE_TAX_ID",
        r"steuer(?:liche[ -]?)?(?:-?id(?:entifikationsnummer|nr)?|identifikationsnummer|nummer)|idnr|tax id",
        r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}",
        _checked(idnr.is_valid),
    ),
    _told("NL_BSN", r"bsn|burgerservicenummer|sofinummer", r"\d{4}\.?\d{2}\.?\d{3}", _checked(bsn.is_valid)),
    _told("PL_PESEL", r"pesel", r"\d{11}", _checked(pesel.is_valid)),
    Detector(
        "BR_CPF",
        r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b",
        rf"(?<![A-Za-z0-9_.-])\d{{3}}\.\d{{3}}\.\d{{3}}-\d{{2}}{_AFTER}",
        _checked(cpf.is_valid),
    ),
    _told("BR_CPF", r"cpf", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", _checked(cpf.is_valid)),
    _told("IN_AADHAAR", r"aadhaa?r|uidai|uid", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", _checked(aadhaar.is_valid)),
    _told("AU_TFN", r"tfn|tax file", r"\d{3} ?\d{3} ?\d{2,3}", _checked(tfn.is_valid)),
)
