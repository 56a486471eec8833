"""Who may decide: members of the groups that a rule names, and never on their own operation (G5).

Pure. People are told apart across channels: the same person may come with a token and with a Slack account.
"""

from collections.abc import Collection, Iterable, Sequence

from schemas.approvals import Reviewer
from schemas.identity import Identity
from schemas.verdicts import ApprovalTerms, Requirement, Share


def counts_for(reviewer: Reviewer, requirement: Requirement, escalated: Collection[str] = ()) -> bool:
    """Whether this person's yes counts towards this rule's demand; `escalated` names the rules that are escalated."""
    asked = set(requirement.by) | _stand_ins(requirement, escalated)
    return not asked.isdisjoint(reviewer.groups)


def may_decide(reviewer: Reviewer, terms: ApprovalTerms, escalated: Collection[str] = ()) -> bool:
    """Whether this person is one of those who are asked."""
    return any(counts_for(reviewer, requirement, escalated) for requirement in terms.requirements)


def may_break_glass(
    reviewer: Reviewer, terms: ApprovalTerms, approved_by: Sequence[Reviewer] = (), escalated: Collection[str] = ()
) -> bool:
    """Whether every rule that is not satisfied yet names a group of theirs for emergencies."""
    open_still = [rule for rule in terms.requirements if not met(rule, approved_by, escalated)]
    return bool(open_still) and all(not set(rule.break_glass).isdisjoint(reviewer.groups) for rule in open_still)


def same_person(one: Reviewer, other: Reviewer) -> bool:
    """Whether two reviewers are one: the same identity or e-mail address, or one the other's service account.

    An owner's name is compared whatever issuer it comes from: a namesake counts as one person rather than as two.
    """
    if (one.issuer, one.subject) == (other.issuer, other.subject):
        return True
    if _owned(one.owner, other) or _owned(other.owner, one):
        return True
    return bool(_addresses(one) & _addresses(other))


def own_operation(requester: Identity, reviewer: Reviewer) -> bool:
    """Whether the reviewer asked for this themselves, or a service account of theirs did.

    A person's service account cannot approve for that person, nor for another account of theirs. Names are compared
    whatever issuer they come from; a namesake at another issuer is refused rather than trusted.
    """
    if (requester.issuer, requester.subject) == (reviewer.issuer, reviewer.subject):
        return True
    if requester.owner and requester.owner == reviewer.subject:
        return True
    if reviewer.owner and reviewer.owner in (requester.subject, requester.owner):
        return True
    asking = _folded(requester.email, requester.owner, _if_address(requester.subject))
    return bool(asking & _addresses(reviewer))


def met(requirement: Requirement, approved_by: Sequence[Reviewer], escalated: Collection[str] = ()) -> bool:
    """Whether enough different people have said yes, over all groups and in each that the rule counts by itself."""
    if progress(requirement, approved_by, escalated) < requirement.quorum:
        return False
    full = [missing(share, requirement, approved_by, escalated) == 0 for share in requirement.shares]
    return not full or (any(full) if requirement.match == "any" else all(full))


def progress(requirement: Requirement, approved_by: Sequence[Reviewer], escalated: Collection[str] = ()) -> int:
    """How many different people whose yes counts have said it."""
    return _different(reviewer for reviewer in approved_by if counts_for(reviewer, requirement, escalated))


def missing(
    share: Share, requirement: Requirement, approved_by: Sequence[Reviewer], escalated: Collection[str] = ()
) -> int:
    """How many people of this group are still needed. Those escalated to stand in for each group of the rule."""
    group = {share.group} | _stand_ins(requirement, escalated)
    return max(share.people - _different(person for person in approved_by if group.intersection(person.groups)), 0)


def _different(people: Iterable[Reviewer]) -> int:
    distinct: list[Reviewer] = []
    for reviewer in people:
        if not any(same_person(reviewer, known) for known in distinct):
            distinct.append(reviewer)
    return len(distinct)


def _stand_ins(requirement: Requirement, escalated: Collection[str]) -> set[str]:
    escalation = requirement.escalation
    return set(escalation.to) if escalation and requirement.rule in escalated else set()


def _owned(owner: str, by: Reviewer) -> bool:
    return bool(owner) and owner in (by.subject, by.owner)


def _addresses(reviewer: Reviewer) -> frozenset[str]:
    return _folded(reviewer.email, _if_address(reviewer.subject), reviewer.owner)


def _if_address(subject: str) -> str:
    return subject if "@" in subject else ""


def _folded(*names: str) -> frozenset[str]:
    return frozenset(name.casefold() for name in names if name)
