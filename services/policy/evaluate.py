"""The verdict: every rule that matches applies, deny beats approve beats allow, and nothing matched means denied.

Pure: the attempt brings its own clock (`at`). What cannot be decided is decided against: a rule that fails denies,
and so does a rule that would have to see, mask or show content that went on past the inspection window (G1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import cel

from schemas.approvals import Grant
from schemas.events import OperationAttempted
from schemas.verdicts import ApprovalTerms, Decision, Obligations, Requirement, Verdict
from services.policy.approving import PREVIEWS, Approve, Preview
from services.policy.effects import Allow, Deny
from services.policy.facts import MAX_STEPS, context, longest, variables
from services.policy.grants import Grants
from services.policy.obligations import add_up
from services.policy.rules import Policy, Rule

NO_POLICY = "no policy is loaded"
NOTHING_MATCHED = "no rule allows this operation"
#: Actions that change rows, of which those that people see a preview of unless the rule says otherwise.
_CHANGING = frozenset({"sql.insert", "sql.update", "sql.delete"})
_PREVIEWED = frozenset({"sql.update", "sql.delete"})
#: Combinations of rules whose verdict a policy remembers; a policy that is read has fewer.
MAX_REMEMBERED = 1000
#: Characters of a denial's reason; several denying rules say it together.
MAX_REASON = 1000


@dataclass
class _Matches:
    """What the rules say, before it is weighed. `denials` are pairs of rule and reason, failed rules among them."""

    rules: list[Rule] = field(default_factory=list)
    denials: list[tuple[str, str]] = field(default_factory=list)
    #: Rules that could not be evaluated.
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Judgement:
    """A verdict, and which rules failed on the way to it, for the metrics."""

    verdict: Verdict
    failed: tuple[str, ...] = ()


def evaluate(policy: Policy | None, attempt: OperationAttempted, grants: Grants) -> Verdict:
    """The verdict on one attempt. A hold has no `approval_id` yet, unless the caller presented one."""
    return judge(policy, attempt, grants).verdict


def judge(policy: Policy | None, attempt: OperationAttempted, grants: Grants) -> Judgement:
    """As `evaluate`, with the rules that failed."""
    if policy is None:
        return Judgement(Verdict(decision=Decision.DENY, reason=NO_POLICY))
    matches = _match(policy, attempt)
    return Judgement(_weigh(policy, attempt, matches, grants), tuple(matches.failed))


def _match(policy: Policy, attempt: OperationAttempted) -> _Matches:
    matches = _Matches()
    facts = variables(attempt, policy.uses)
    try:
        made = context(policy, facts)
    except (ValueError, TypeError, OverflowError):
        matches.failed = [rule.name for rule in policy.rules]
        matches.denials = [(name, "the operation cannot be judged") for name in matches.failed[:1]]
        return matches
    for rule in policy.rules:
        _apply(rule, attempt, made, facts, matches)
    return matches


def _apply(
    rule: Rule, attempt: OperationAttempted, made: cel.Context, facts: dict[str, object], matches: _Matches
) -> None:
    holds = _holds(rule, made, facts)
    incomplete = not attempt.operation.complete
    if holds is None:
        matches.failed.append(rule.name)
        beyond = incomplete and rule.when.reads_content
        matches.denials.append((rule.name, _beyond(rule) if beyond else f"the rule {rule.name} could not be evaluated"))
    elif not holds:
        return
    elif isinstance(rule.effect, Deny):
        matches.denials.append((rule.name, rule.effect.reason))
    elif incomplete and rule.needs_content and not _masks_as_it_comes(rule, attempt):
        matches.denials.append((rule.name, _beyond(rule)))
    else:
        matches.rules.append(rule)


def _masks_as_it_comes(rule: Rule, attempt: OperationAttempted) -> bool:
    """Whether all the rule has to do with content is to mask it, and ingress does that while it sends it on."""
    return not isinstance(rule.effect, Approve) and attempt.operation.attributes.get("streamed") is True


def _holds(rule: Rule, made: cel.Context, facts: dict[str, object]) -> bool | None:
    """Whether the condition is true; None when that cannot be told. The engine's words may quote content: dropped."""
    degree = rule.when.degree
    if degree > 1 and longest(facts) ** degree > MAX_STEPS:
        return None
    try:
        result = rule.when.program.execute(made)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # whatever the engine raises (its panics are no Exception), the rule did not say yes
        return None
    return result if isinstance(result, bool) else None


def _beyond(rule: Rule) -> str:
    return f"the rule {rule.name} needs the whole content, which is larger than the inspection window"


def _weigh(policy: Policy, attempt: OperationAttempted, matches: _Matches, grants: Grants) -> Verdict:
    asking = [rule for rule in matches.rules if isinstance(rule.effect, Approve)]
    if matches.denials:
        return _deny(policy, matches.denials)
    if not asking and not any(isinstance(rule.effect, Allow) for rule in matches.rules):
        return Verdict(decision=Decision.DENY, reason=NOTHING_MATCHED, policy_version=policy.version)
    if not asking:
        return _allow(policy, matches.rules)
    obligations = add_up(matches.rules)
    grant = grants.find(attempt, asking[0].name, policy.version) if len(asking) == 1 else None
    if grant is not None:
        return _allow_by_grant(policy, matches.rules, obligations, grant)
    return _hold(policy, attempt, asking, obligations)


def _deny(policy: Policy, denials: Sequence[tuple[str, str]]) -> Verdict:
    return Verdict(
        decision=Decision.DENY,
        rules=tuple(name for name, _ in denials),
        reason="; ".join(dict.fromkeys(reason for _, reason in denials))[:MAX_REASON],
        policy_version=policy.version,
    )


def _allow(policy: Policy, rules: Sequence[Rule]) -> Verdict:
    """The same for the same rules, whatever the attempt; adding up takes as long as judging."""
    names = tuple(rule.name for rule in rules)
    verdict = policy.allowing.get(names)
    if verdict is None:
        verdict = Verdict(
            decision=Decision.ALLOW, rules=names, policy_version=policy.version, obligations=add_up(rules)
        )
        if len(policy.allowing) < MAX_REMEMBERED:
            policy.allowing[names] = verdict
    return verdict


def _allow_by_grant(policy: Policy, rules: Sequence[Rule], obligations: Obligations, grant: Grant) -> Verdict:
    return Verdict(
        decision=Decision.ALLOW,
        rules=tuple(rule.name for rule in rules),
        policy_version=policy.version,
        obligations=obligations,
        approval_id=grant.approval_id,
        certificate=grant.certificate,
        approved_by=(grant.approved_by,),
    )


def _hold(policy: Policy, attempt: OperationAttempted, asking: Sequence[Rule], obligations: Obligations) -> Verdict:
    effects = [(rule.name, rule.effect) for rule in asking if isinstance(rule.effect, Approve)]
    people = " and ".join(effect.people for _, effect in effects)
    return Verdict(
        decision=Decision.HOLD,
        rules=tuple(rule.name for rule in asking),
        reason=f"needs approval by {people}",
        policy_version=policy.version,
        obligations=obligations,
        approval_id=attempt.asked.approval_id,
        terms=_terms(attempt, effects),
    )


def _terms(attempt: OperationAttempted, effects: Sequence[tuple[str, Approve]]) -> ApprovalTerms:
    """Every rule's people are asked, until the first of them runs out; only a lone rule can be granted for a while."""
    alone = effects[0][1] if len(effects) == 1 else None
    return ApprovalTerms(
        requirements=tuple(_requirement(name, effect) for name, effect in effects),
        expires_at=attempt.at + timedelta(seconds=min(effect.expires for _, effect in effects)),
        grant_seconds=alone.grant if alone else 0,
        max_uses=alone.max_uses if alone else 0,
        slack=next((effect.slack for _, effect in effects if effect.slack), ""),
        email=tuple(dict.fromkeys(address for _, effect in effects for address in effect.email)),
        webhook=next((effect.webhook for _, effect in effects if effect.webhook), ""),
        preview=_preview(attempt, [effect.preview for _, effect in effects]),
    )


def _requirement(name: str, effect: Approve) -> Requirement:
    return Requirement(
        rule=name,
        by=effect.by,
        quorum=effect.quorum,
        match=effect.match,
        shares=effect.shares,
        escalation=effect.escalation,
        break_glass=effect.break_glass,
    )


def _preview(attempt: OperationAttempted, wanted: Sequence[Preview | None]) -> Preview:
    """The most that any of the rules wants of an operation that changes rows; what has none to count has no preview."""
    if attempt.connector.protocol != "postgres" or attempt.operation.action not in _CHANGING:
        return "none"
    default: Preview = "estimate" if attempt.operation.action in _PREVIEWED else "none"
    return max((each or default for each in wanted), key=PREVIEWS.index)
