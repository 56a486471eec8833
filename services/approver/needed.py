"""Who is asked, and who is still needed, in words that every channel shows alike. Pure.

by: [dba, oncall], quorum 2             "2 more of dba or oncall"
by: {any: {dba: 2, oncall: 1}}          "2 more of dba, or 1 more of oncall"
by: {all: {dba: 1, security: 2}}        "1 more of dba and 2 more of security"
two rules                               joined by "; and "
"""

from schemas.verdicts import ApprovalTerms, Requirement
from services.approver.eligibility import met, missing, progress
from services.approver.record import Held


def needed(record: Held) -> str:
    """Who has to say yes yet; empty when nobody is needed any more."""
    return "; and ".join(
        _still(requirement, record)
        for requirement in record.request.terms.requirements
        if not met(requirement, record.approved_by, record.escalated)
    )


def groups_asked(terms: ApprovalTerms) -> str:
    """`dba` or `dba, security`: the groups asked from the start."""
    return ", ".join(dict.fromkeys(group for requirement in terms.requirements for group in requirement.by)) or "nobody"


def groups_needed(record: Held) -> tuple[str, ...]:
    """The groups of which somebody is still needed, those escalated to among them."""
    found: dict[str, None] = {}
    for requirement in record.request.terms.requirements:
        if not met(requirement, record.approved_by, record.escalated):
            found |= dict.fromkeys(requirement.by)
            if requirement.escalation and requirement.rule in record.escalated:
                found |= dict.fromkeys(requirement.escalation.to)
    return tuple(found)


def groups_concerned(terms: ApprovalTerms) -> frozenset[str]:
    """Every group that may come to have a say: asked, escalated to, or named for emergencies."""
    found: set[str] = set()
    for requirement in terms.requirements:
        found.update(requirement.by, requirement.break_glass)
        if requirement.escalation:
            found.update(requirement.escalation.to)
    return frozenset(found)


def _still(requirement: Requirement, record: Held) -> str:
    stand_ins = ""
    if requirement.escalation and requirement.rule in record.escalated:
        stand_ins = f" (or of {_either(requirement.escalation.to)}, escalated)"
    lacking = [
        (share.group, count)
        for share in requirement.shares
        if (count := missing(share, requirement, record.approved_by, record.escalated))
    ]
    people = max(requirement.quorum - progress(requirement, record.approved_by, record.escalated), 0)
    if requirement.match == "any" and requirement.shares:
        return ", or ".join(f"{count} more of {group}" for group, count in lacking) + stand_ins
    words = " and ".join(f"{count} more of {group}" for group, count in lacking)
    if people > sum(count for _, count in lacking):
        beside = f", {people} more people in all" if words else ""
        words = words + beside if words else f"{people} more of {_either(requirement.by)}"
    return words + stand_ins


def _either(groups: tuple[str, ...]) -> str:
    return " or ".join(groups) or "nobody"
