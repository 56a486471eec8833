"""The catalogue: every kind of sensitive value by name, and the named sets a rule may ask for.

A rule's `mask: {request: [secrets, pii]}` names sets and entities; `resolve` turns them into entity names.
What each entity looks like is in `detectors`; what replaces it is in `replace`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from services.ingress.masking.errors import MaskingConfigError

# The order is the priority: when two entities claim the very same characters, the earlier one names them.
SECRETS: tuple[str, ...] = (
    "PRIVATE_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_KEY",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "SLACK_TOKEN",
    "SLACK_WEBHOOK",
    "STRIPE_KEY",
    "ANTHROPIC_KEY",
    "OPENAI_KEY",
    "GOOGLE_API_KEY",
    "AZURE_KEY",
    "HUGGINGFACE_TOKEN",
    "NPM_TOKEN",
    "PYPI_TOKEN",
    "SENDGRID_KEY",
    "VAULT_TOKEN",
    "JWT",
    "URL_PASSWORD",
    "PASSWORD",
    "HIGH_ENTROPY",
)
FINANCIAL: tuple[str, ...] = ("CREDIT_CARD", "IBAN", "US_ROUTING_NUMBER")
NATIONAL_IDS: tuple[str, ...] = (
    "US_SSN",
    "US_ITIN",
    "CA_SIN",
    "GB_NHS",
    "FR_NIR",
    "ES_NIF",
    "IT_CODICE_FISCALE",
    "DE_TAX_ID",
    "NL_BSN",
    "PL_PESEL",
    "BR_CPF",
    "IN_AADHAAR",
    "AU_TFN",
)
PERSONAL: tuple[str, ...] = ("EMAIL", "PHONE", *NATIONAL_IDS, "IP_ADDRESS")

DENY_WORD = "DENY_WORD"
ENTITIES: tuple[str, ...] = (*SECRETS, *FINANCIAL, *PERSONAL)

SETS: dict[str, frozenset[str]] = {
    "secrets": frozenset(SECRETS),
    "financial": frozenset(FINANCIAL),
    "pii": frozenset(PERSONAL),
}

_CUSTOM_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class CustomPattern:
    """An entity of the operator's own: `name` as it stands in labels, `pattern` as Python's `re` writes it.

    Character classes, counts, groups, alternatives, `(?i)` and `\\b` work; `\\w`, `\\d`, `\\s` are ASCII.
    Lookarounds, back references and `^`/`$` are refused, for they have no linear-time or streamed meaning.
    Raises MaskingConfigError when the name is not one.
    """

    name: str
    pattern: str

    def __post_init__(self) -> None:
        if not _CUSTOM_NAME.fullmatch(self.name):
            raise MaskingConfigError(f"custom pattern {self.name!r}: use capitals, digits and _ (at most 40)")
        if self.name in ENTITIES or self.name == DENY_WORD:
            raise MaskingConfigError(f"custom pattern {self.name}: the name is taken by a built-in entity")


def resolve(names: Iterable[str], custom: Iterable[CustomPattern] = ()) -> frozenset[str]:
    """Entity names for `names`, each a set, an entity or a custom pattern's name.

    Raises MaskingConfigError for a name nobody knows, which must stop the start: it would mask nothing.
    """
    known = {*ENTITIES, DENY_WORD, *(pattern.name for pattern in custom)}
    found: set[str] = set()
    for name in names:
        if name in SETS:
            found |= SETS[name]
        elif name in known:
            found.add(name)
        else:
            raise MaskingConfigError(f"unknown entity or set {name!r}; sets: {', '.join(sorted(SETS))}")
    return frozenset(found)
