"""`approve: {…}` of a rule: who is asked, how many of them, until when, and what their yes can cover.

    by: [dba, oncall]                   one of either; with `quorum: 2`, two different people of either
    by: {any: {dba: 2, oncall: 1}}      two of dba, or one of oncall; a list stands for one of each
    by: {all: {dba: 1, security: 2}}    one of dba and two of security; `quorum` asks for so many people in all
    escalate: {after: 5m, to: [oncall]} from then on these stand in for any of the groups
    break_glass: {by: [sre]}            one of these alone, with a reason, in an emergency

Counterpart: schemas/verdicts.Requirement, which says the same to the approver; services/approver/eligibility counts.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from schemas.verdicts import Escalation, Share
from services.policy.document import Document
from services.runtime.settings.yaml_source import Path

#: Longest time a question may stay open, or a grant may last: an approval's entry lives as long on the bus.
MAX_APPROVAL = 30 * 86400.0
#: How long people may take when a rule does not say.
DEFAULT_EXPIRES = 900.0
#: People that one rule may ask for.
MAX_PEOPLE = 20
#: Uses of one grant; a rule that needs more needs no number.
MAX_USES = 1_000_000

Preview = Literal["none", "estimate", "count"]
PREVIEWS: tuple[Preview, ...] = ("none", "estimate", "count")

_KEYS = (
    *("by", "quorum", "expires", "escalate", "break_glass", "grant", "max_uses"),
    *("preview", "slack", "email", "webhook"),
)
_ADDRESS = re.compile(r"^[^\s@<>,;]+@[^\s@<>,;]+$")
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


@dataclass(frozen=True)
class Approve:
    """`approve: {…}`; durations in seconds, `grant` and `max_uses` 0 for none. `preview` None: as the action needs."""

    by: tuple[str, ...]
    quorum: int = 1
    expires: float = DEFAULT_EXPIRES
    grant: float = 0
    slack: str = ""
    match: Literal["any", "all"] = "any"
    shares: tuple[Share, ...] = ()
    escalation: Escalation | None = None
    break_glass: tuple[str, ...] = ()
    max_uses: int = 0
    preview: Preview | None = None
    email: tuple[str, ...] = ()
    webhook: str = ""

    @property
    def people(self) -> str:
        """Who is asked, in words for the agent."""
        return (" and " if self.match == "all" else " or ").join(self.by)

    def canonical(self) -> dict[str, Any]:
        """Equal for equal meaning: the order of groups and addresses says nothing."""
        escalation = self.escalation
        return {
            "by": sorted(self.by),
            "quorum": self.quorum,
            "match": self.match,
            "shares": sorted([share.group, share.people] for share in self.shares),
            "expires": self.expires,
            "escalate": [escalation.after, sorted(escalation.to)] if escalation else None,
            "break_glass": sorted(self.break_glass),
            "grant": self.grant,
            "max_uses": self.max_uses,
            "preview": self.preview,
            "slack": self.slack,
            "email": sorted(self.email),
            "webhook": self.webhook,
        }


@dataclass(frozen=True)
class _People:
    """What `by` and `quorum` say together."""

    by: tuple[str, ...] = ()
    quorum: int = 1
    match: Literal["any", "all"] = "any"
    shares: tuple[Share, ...] = ()


def read_approve(document: Document, path: Path, value: Any) -> Approve:
    """Read it; problems are noted in the document."""
    known = document.mapping(path, value, _KEYS, "`approve`")
    if isinstance(value, dict) and not known.get("by"):
        document.wrong(path, "`by` is required: the groups whose members may approve, such as by: [dba]")
    people = _people(document, path, known)
    expires = document.duration((*path, "expires"), known.get("expires", DEFAULT_EXPIRES), MAX_APPROVAL)
    grant = document.duration((*path, "grant"), known["grant"], MAX_APPROVAL) if "grant" in known else 0
    return Approve(
        by=people.by,
        quorum=people.quorum,
        expires=expires or DEFAULT_EXPIRES,
        grant=grant or 0,
        slack=_slack(document, (*path, "slack"), known.get("slack", "")),
        match=people.match,
        shares=people.shares,
        escalation=_escalation(document, (*path, "escalate"), known, expires or DEFAULT_EXPIRES),
        break_glass=_break_glass(document, (*path, "break_glass"), known),
        max_uses=_max_uses(document, (*path, "max_uses"), known),
        preview=document.choice((*path, "preview"), known["preview"], PREVIEWS, None) if "preview" in known else None,
        email=document.texts((*path, "email"), known.get("email", []), "addresses", _check_address),
        webhook=_webhook(document, (*path, "webhook"), known.get("webhook", "")),
    )


def _people(document: Document, path: Path, known: dict[str, Any]) -> _People:
    by = known.get("by")
    if not by:
        return _People()
    if not isinstance(by, dict):
        groups = _groups(document, (*path, "by"), by)
        return _People(groups, document.number((*path, "quorum"), known.get("quorum", 1), 1, MAX_PEOPLE) or 1)
    kinds = document.mapping((*path, "by"), by, ("any", "all"), "`by`")
    if len(kinds) != 1:
        if kinds:
            document.wrong((*path, "by"), "write `any` or `all`, not both; what needs both is two rules")
        return _People()
    match: Literal["any", "all"] = "any" if "any" in kinds else "all"
    shares = _shares(document, (*path, "by", match), kinds[match])
    if not shares:
        return _People()
    groups = tuple(share.group for share in shares)
    return _People(groups, _quorum(document, (*path, "quorum"), known, match, shares), match, shares)


def _quorum(
    document: Document, path: Path, known: dict[str, Any], match: Literal["any", "all"], shares: tuple[Share, ...]
) -> int:
    numbers = [share.people for share in shares]
    least = min(numbers) if match == "any" else max(numbers)
    if "quorum" not in known:
        return least
    if match == "any":
        document.wrong(path, "`any` says for each group how many; leave out `quorum`", key=True)
        return least
    return document.number(path, known["quorum"], least, MAX_PEOPLE) or least


def _shares(document: Document, path: Path, value: Any) -> tuple[Share, ...]:
    if not value:
        document.wrong(path, "name at least one group, such as {dba: 1}")
        return ()
    if not isinstance(value, dict):
        return tuple(Share(group=group) for group in _groups(document, path, value))
    found = []
    for group, people in value.items():
        number = document.number((*path, group), people, 1, MAX_PEOPLE)
        if not isinstance(group, str) or not group:
            document.wrong((*path, group), "write groups as text", key=True)
        elif number:
            found.append(Share(group=group, people=number))
    return tuple(found)


def _escalation(document: Document, path: Path, known: dict[str, Any], expires: float) -> Escalation | None:
    if "escalate" not in known:
        return None
    parts = document.mapping(path, known["escalate"], ("after", "to"), "`escalate`")
    if missing := [key for key in ("after", "to") if not parts.get(key)]:
        document.wrong(path, f"`escalate` needs `{missing[0]}`, as in escalate: {{after: 5m, to: [oncall]}}")
        return None
    after = document.duration((*path, "after"), parts["after"], MAX_APPROVAL)
    if after and after >= expires:
        document.wrong((*path, "after"), "by then the question has expired; write less than `expires`")
    to = _groups(document, (*path, "to"), parts["to"])
    return Escalation(after=after, to=to) if after and to else None


def _break_glass(document: Document, path: Path, known: dict[str, Any]) -> tuple[str, ...]:
    if "break_glass" not in known:
        return ()
    parts = document.mapping(path, known["break_glass"], ("by",), "`break_glass`")
    if not parts.get("by"):
        document.wrong(path, "name the groups that may do it alone, as in break_glass: {by: [sre]}")
        return ()
    return _groups(document, (*path, "by"), parts["by"])


def _max_uses(document: Document, path: Path, known: dict[str, Any]) -> int:
    if "max_uses" not in known:
        return 0
    if "grant" not in known:
        document.wrong(path, "`max_uses` bounds a grant; this rule has no `grant`", key=True)
    return document.number(path, known["max_uses"], 1, MAX_USES) or 0


def _groups(document: Document, path: Path, value: Any) -> tuple[str, ...]:
    return document.texts(path, value, "groups", lambda _: None)


def _slack(document: Document, path: Path, value: Any) -> str:
    if isinstance(value, str) and not re.search(r"\s", value):
        return value
    document.wrong(path, 'write a channel such as "#db-approvals", in quotes: # starts a comment in YAML')
    return ""


def _webhook(document: Document, path: Path, value: Any) -> str:
    if isinstance(value, str) and (not value or _NAME.match(value)):
        return value
    document.wrong(path, "write the name of a webhook of the settings")
    return ""


def _check_address(address: str) -> str | None:
    return None if _ADDRESS.match(address) else f"write `{address}` as an address such as dba@example.com"
