"""Who may decide: members of the groups that a rule names, and never on their own operation (G5).

Pure. People are told apart across channels: the same person may come with a token and with a Slack account.
"""

from schemas.approvals import Reviewer
from schemas.identity import Identity
from schemas.verdicts import ApprovalTerms, Requirement


def counts_for(reviewer: Reviewer, requirement: Requirement) -> bool:
    """Whether this person's yes counts towards this rule's demand."""
    return not set(reviewer.groups).isdisjoint(requirement.by)


def may_decide(reviewer: Reviewer, terms: ApprovalTerms) -> bool:
    """Whether this person is one of those who are asked."""
    return any(counts_for(reviewer, requirement) for requirement in terms.requirements)


def same_person(one: Reviewer, other: Reviewer) -> bool:
    """Whether two reviewers are one: the same identity, or the same e-mail address in any case."""
    if (one.issuer, one.subject) == (other.issuer, other.subject):
        return True
    return bool(_addresses(one) & _addresses(other))


def own_operation(requester: Identity, reviewer: Reviewer, reviewer_owner: str = "") -> bool:
    """Whether the reviewer asked for this themselves, or a service account of theirs did.

    `reviewer_owner` is the `owner` claim of the reviewer's own token: a person's service account cannot approve for
    that person, nor for another account of theirs. Names are compared whatever issuer they come from; a namesake at
    another issuer is refused rather than trusted.
    """
    if (requester.issuer, requester.subject) == (reviewer.issuer, reviewer.subject):
        return True
    if requester.owner and requester.owner == reviewer.subject:
        return True
    if reviewer_owner and reviewer_owner in (requester.subject, requester.owner):
        return True
    asking = _folded(requester.email, requester.owner, _if_address(requester.subject))
    deciding = _addresses(reviewer) | _folded(reviewer_owner)
    return bool(asking & deciding)


def met(requirement: Requirement, approved_by: tuple[Reviewer, ...]) -> bool:
    """Whether enough different people have said yes."""
    return progress(requirement, approved_by) >= requirement.quorum


def progress(requirement: Requirement, approved_by: tuple[Reviewer, ...]) -> int:
    """How many different people whose yes counts have said it."""
    distinct: list[Reviewer] = []
    for reviewer in approved_by:
        if counts_for(reviewer, requirement) and not any(same_person(reviewer, known) for known in distinct):
            distinct.append(reviewer)
    return len(distinct)


def _addresses(reviewer: Reviewer) -> frozenset[str]:
    return _folded(reviewer.email, _if_address(reviewer.subject))


def _if_address(subject: str) -> str:
    return subject if "@" in subject else ""


def _folded(*names: str) -> frozenset[str]:
    return frozenset(name.casefold() for name in names if name)
