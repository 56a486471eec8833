"""What a rule does when it matches: its effect (allow, deny or approve) and its obligations (mask, limit, record).

`approving.py` reads what stands under `approve`. Counterpart: `rules.py` reads the rules around them;
`obligations.py` adds up the obligations of all that matched.
"""

import re
from dataclasses import dataclass
from typing import Any

from schemas import entities
from schemas.verdicts import MaskObligation, Record
from services.policy.approving import Approve, read_approve
from services.policy.document import Document, suggest
from services.runtime.settings.yaml_source import Path

#: Words shown to the agent with a denial.
MAX_REASON = 500

_COLUMN = re.compile(r"^[^\s.]+\.[^\s.]+(\.[^\s.]+)?$")
_FIELD = re.compile(r"""^\$(\.\.?[A-Za-z_][\w-]*|\.\.?\*|(\.\.)?(\[\*\]|\[\d+\]|\['[^']+'\]|\["[^"]+"\]))+$""")
_STYLES = ("label", "partial", "hash", "token")


@dataclass(frozen=True)
class Allow:
    """`allow: true`."""


@dataclass(frozen=True)
class Deny:
    """`deny: why`, shown to the agent."""

    reason: str


Effect = Allow | Deny | Approve


def read_effect(document: Document, path: Path, rule: dict[str, Any]) -> Effect | None:
    """The one effect of a rule, None when it has none; problems are noted in the document."""
    named = [key for key in ("allow", "deny", "approve") if key in rule]
    if len(named) > 1:
        both = " and ".join(f"`{key}`" for key in named)
        document.wrong((*path, named[1]), f"a rule has one effect, not {both}; make two rules", key=True)
    if not named:
        return None
    key = named[0]
    inside, value = (*path, key), rule[key]
    match key:
        case "allow":
            return _allow(document, inside, value)
        case "deny":
            return _deny(document, inside, value)
        case _:
            return read_approve(document, inside, value)


def _allow(document: Document, path: Path, value: Any) -> Allow:
    if value is not True:
        document.wrong(path, "write `allow: true`; to refuse, write `deny:` and the reason")
    return Allow()


def _deny(document: Document, path: Path, value: Any) -> Deny:
    if isinstance(value, bool):
        document.wrong(path, f"write the reason in quotes: YAML reads this as {str(value).lower()}")
        return Deny("")
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_REASON:
        document.wrong(path, f"write the reason the agent is shown, at most {MAX_REASON} characters")
        return Deny("")
    return Deny(" ".join(value.split()))


_MASK_KEYS = ("request", "response", "columns", "fields", "style", "restore", "binary")


def read_mask(document: Document, path: Path, value: Any) -> MaskObligation:
    """`mask: {…}`."""
    errors_before = len(document.errors)
    known = document.mapping(path, value, _MASK_KEYS, "`mask`")
    mask = MaskObligation(
        request=_names(document, (*path, "request"), known.get("request", [])),
        response=_names(document, (*path, "response"), known.get("response", [])),
        columns=document.texts((*path, "columns"), known.get("columns", []), "columns", _check_column),
        fields=document.texts((*path, "fields"), known.get("fields", []), "fields", _check_field),
        style=document.choice((*path, "style"), known.get("style", "label"), _STYLES, "label"),
        restore=_truth(document, (*path, "restore"), known.get("restore", False)),
        binary=document.choice((*path, "binary"), known.get("binary", "refuse"), ("refuse", "pass"), "refuse"),
    )
    if mask.empty and len(document.errors) == errors_before:
        document.wrong(path, "this masks nothing; name entities under `request` or `response`, or columns or fields")
    return mask


def read_limit(document: Document, path: Path, value: Any) -> int | None:
    """`limit: {rows: …}`."""
    known = document.mapping(path, value, ("rows",), "`limit`")
    if "rows" not in known:
        document.wrong(path, "write `rows:` and the most rows that may come back")
        return None
    return document.number((*path, "rows"), known["rows"], 0, 2**53)


def read_record(document: Document, path: Path, value: Any) -> Record:
    """`record: full|metadata|none`."""
    found: Record = document.choice(path, value, ("full", "metadata", "none"), "full")
    return found


def _names(document: Document, path: Path, value: Any) -> tuple[str, ...]:
    return document.texts(path, value, "entities or sets", _check_entity)


def _check_entity(name: str) -> str | None:
    if entities.is_known(name):
        return None
    hint = (
        suggest(name.lower(), entities.SETS)
        if name.islower() or name.lower() in entities.SETS
        else "; entities are written as in CREDIT_CARD"
    )
    return f"unknown entity or set `{name}`{hint}"


def _check_column(name: str) -> str | None:
    return None if _COLUMN.match(name) else f"write `{name}` as table.column or schema.table.column"


def _check_field(name: str) -> str | None:
    return None if _FIELD.match(name) else f"write `{name}` as a path such as $.customer.ssn or $.items[*].card"


def _truth(document: Document, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        document.wrong(path, "write true or false")
    return value is True
