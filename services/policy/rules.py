"""The policy file: YAML in, a compiled `Policy` out, or every mistake in it with its line and column.

Counterpart: `evaluate.py` judges with it. Syntax: docs/policy.md; architecture, section 6.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from schemas.verdicts import MaskObligation, Record, Verdict
from services.policy.approving import Approve
from services.policy.canonical import version_of
from services.policy.document import Document, PolicyRefused
from services.policy.effects import Deny, Effect, read_effect, read_limit, read_mask, read_record
from services.policy.expression import Expression, ExpressionRefused, compile_expression
from services.policy.functions import IMPLEMENTATIONS
from services.runtime.settings.yaml_source import Path

#: Rules of one policy: all are evaluated for every operation, at about half a microsecond each.
MAX_RULES = 1000

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
_OBLIGATIONS = ("mask", "limit", "record")
_KEYS = ("name", "when", "allow", "deny", "approve", *_OBLIGATIONS)


@dataclass(frozen=True)
class Rule:
    """One rule. Without an effect it only adds its obligations to what other rules allow."""

    name: str
    when: Expression
    effect: Effect | None
    mask: MaskObligation | None = None
    rows: int | None = None
    record: Record | None = None

    @property
    def needs_content(self) -> bool:
        """Whether it can only apply to an operation that was seen whole: it shows or masks what was sent."""
        return isinstance(self.effect, Approve) or bool(self.mask and self.mask.request)


@dataclass(frozen=True)
class Policy:
    """Compiled rules, in the file's order."""

    version: str
    rules: tuple[Rule, ...]
    #: What the conditions name, together: `facts.py` provides no more.
    uses: frozenset[str] = field(init=False)
    #: Names of our own functions they call.
    functions: tuple[str, ...] = field(init=False)
    #: Verdicts that allow, by the names of the rules that matched (`evaluate.py`).
    allowing: dict[tuple[str, ...], Verdict] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uses", frozenset().union(*(rule.when.uses for rule in self.rules)))
        called = frozenset[str]().union(*(rule.when.functions for rule in self.rules))
        object.__setattr__(self, "functions", tuple(sorted(called & IMPLEMENTATIONS.keys())))


def parse_policy(text: str, file: str = "policy.yaml") -> Policy:
    """Read, check and compile a policy. Raises PolicyRefused with everything that is wrong."""
    document = Document(text, file)
    data = document.source.data
    rules: Any = []
    if not isinstance(data, dict) or "rules" not in data:
        document.wrong((), "a policy starts with `rules:`, a list of rules; `rules: []` denies everything")
    else:
        rules = document.mapping((), data, ("rules",), "a policy")["rules"]
    compiled = _read_rules(document, rules)
    if document.errors:
        raise PolicyRefused(document.errors)
    return Policy(version_of(compiled), compiled)


def _read_rules(document: Document, rules: Any) -> tuple[Rule, ...]:
    if not isinstance(rules, list):
        document.wrong(("rules",), "write a list of rules, each starting with `- name:`")
        return ()
    if len(rules) > MAX_RULES:
        document.wrong(("rules",), f"a policy has at most {MAX_RULES} rules")
        return ()
    found = [_read_rule(document, ("rules", index), each) for index, each in enumerate(rules)]
    _check_duplicates(document, rules)
    return tuple(rule for rule in found if rule)


def _check_duplicates(document: Document, rules: list[Any]) -> None:
    lines: dict[str, int] = {}
    for index, rule in enumerate(rules):
        name = rule.get("name") if isinstance(rule, dict) else None
        if not isinstance(name, str):
            continue
        position = document.source.at(("rules", index, "name"))
        if name in lines:
            document.wrong(("rules", index, "name"), f"another rule is called `{name}` (line {lines[name]})")
        elif position:
            lines[name] = position.line


def _read_rule(document: Document, path: Path, value: Any) -> Rule | None:
    errors_before = len(document.errors)
    known = document.mapping(path, value, _KEYS, "a rule")
    if not isinstance(value, dict):
        return None
    name = _read_name(document, path, known)
    when = _read_when(document, path, known)
    effect = read_effect(document, path, known)
    _check_obligations(document, path, known, effect, whole=len(document.errors) == errors_before)
    mask = read_mask(document, (*path, "mask"), known["mask"]) if "mask" in known else None
    rows = read_limit(document, (*path, "limit"), known["limit"]) if "limit" in known else None
    record = read_record(document, (*path, "record"), known["record"]) if "record" in known else None
    return Rule(name, when, effect, mask, rows, record) if name and when else None


def _check_obligations(
    document: Document, path: Path, rule: dict[str, Any], effect: Effect | None, *, whole: bool
) -> None:
    obligations = [key for key in _OBLIGATIONS if key in rule]
    if isinstance(effect, Deny) and obligations:
        key = obligations[0]
        document.wrong((*path, key), f"`{key}` goes with an operation that is let through, not with `deny`", key=True)
    if effect is None and not obligations and whole:
        document.wrong(path, "a rule needs an effect: allow, deny or approve (or mask, limit, record to add to others)")


def _read_name(document: Document, path: Path, rule: dict[str, Any]) -> str | None:
    if "name" not in rule:
        document.wrong(path, "every rule needs a `name`: verdicts and the audit refer to it")
        return None
    name = rule["name"]
    if isinstance(name, str) and _NAME.match(name):
        return name
    document.wrong((*path, "name"), "write a name of small letters, digits, - and _, at most 63 characters")
    return None


def _read_when(document: Document, path: Path, rule: dict[str, Any]) -> Expression | None:
    if "when" not in rule:
        document.wrong(path, "every rule needs a `when`; `when: true` matches everything")
        return None
    value = rule["when"]
    where = (*path, "when")
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str) or not value.strip():
        document.wrong(where, 'write a CEL condition, such as action == "llm.chat"')
        return None
    try:
        return compile_expression(value)
    except ExpressionRefused as refused:
        for problem in refused.problems:
            document.wrong_inside(where, value, problem)
        return None
