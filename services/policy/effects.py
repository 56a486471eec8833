"""What a rule does when it matches: its effect (allow, deny or approve) and its obligations (mask, limit, record).

Counterpart: `rules.py` reads the rules around them; `obligations.py` adds up the obligations of all that matched.
"""

import re
from dataclasses import dataclass
from typing import Any

from schemas import entities
from schemas.verdicts import MaskObligation, Record
from services.policy.document import Document, suggest
from services.runtime.settings.yaml_source import Path

#: Longest time a question may stay open, or a grant may last: an approval's entry lives as long on the bus.
MAX_APPROVAL = 30 * 86400.0
#: How long people may take when a rule does not say.
DEFAULT_EXPIRES = 900.0
#: Words shown to the agent with a denial.
MAX_REASON = 500

_COLUMN = re.compile(r"^[^\s.]+\.[^\s.]+(\.[^\s.]+)?$")
_FIELD = re.compile(r"""^\$(\.[A-Za-z_][\w-]*|\.\*|\[\*\]|\[\d+\]|\['[^']+'\])+$""")
_STYLES = ("label", "partial", "hash", "token")


@dataclass(frozen=True)
class Allow:
    """`allow: true`."""


@dataclass(frozen=True)
class Deny:
    """`deny: why`, shown to the agent."""

    reason: str


@dataclass(frozen=True)
class Approve:
    """`approve: {…}`: `quorum` people, each in one of the groups `by`; durations in seconds, `grant` 0 for none."""

    by: tuple[str, ...]
    quorum: int = 1
    expires: float = DEFAULT_EXPIRES
    grant: float = 0
    slack: str = ""


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
            return _approve(document, inside, value)


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


def _approve(document: Document, path: Path, value: Any) -> Approve:
    known = document.mapping(path, value, ("by", "quorum", "expires", "grant", "slack"), "`approve`")
    by: tuple[str, ...] = ()
    if "by" in known:
        by = document.texts((*path, "by"), known["by"], "groups", lambda _: None)
    if not by and isinstance(value, dict) and not known.get("by"):
        document.wrong(path, "`by` is required: the groups whose members may approve, such as by: [dba]")
    quorum = document.number((*path, "quorum"), known.get("quorum", 1), 1, 20)
    expires = document.duration((*path, "expires"), known.get("expires", DEFAULT_EXPIRES), MAX_APPROVAL)
    grant = document.duration((*path, "grant"), known["grant"], MAX_APPROVAL) if "grant" in known else 0
    slack = _slack(document, (*path, "slack"), known.get("slack", ""))
    return Approve(by, quorum or 1, expires or DEFAULT_EXPIRES, grant or 0, slack)


def _slack(document: Document, path: Path, value: Any) -> str:
    if isinstance(value, str) and not re.search(r"\s", value):
        return value
    document.wrong(path, 'write a channel such as "#db-approvals", in quotes: # starts a comment in YAML')
    return ""


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
    hint = suggest(name.lower(), entities.SETS) if name.islower() else "; entities are written as in CREDIT_CARD"
    return f"unknown entity or set `{name}`{hint}"


def _check_column(name: str) -> str | None:
    return None if _COLUMN.match(name) else f"write `{name}` as table.column or schema.table.column"


def _check_field(name: str) -> str | None:
    return None if _FIELD.match(name) else f"write `{name}` as a path such as $.customer.ssn or $.items[*].card"


def _truth(document: Document, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        document.wrong(path, "write true or false")
    return value is True
