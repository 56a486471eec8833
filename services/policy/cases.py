"""`countersign policy test`: operations in, decisions out, written as YAML beside the policy.

    cases:
      - name: agents may chat
        when: {identity: {groups: [agents]}, connector: {name: openai}, action: llm.chat}
        expect: {decision: allow, rules: [agents-may-chat], mask: {request: [secrets, pii]}}

`when` holds the parts of an operation the rules look at, everything else is plain; `expect` only what matters to the
case. Counterpart: `case_values.py` makes the attempt, countersign's command line prints the report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.verdicts import Verdict
from services.policy.case_values import Case, read_case
from services.policy.check import load, read_text
from services.policy.document import Document, PolicyRefused
from services.policy.evaluate import evaluate
from services.policy.rules import Policy

_KEYS = ("name", "when", "expect")


@dataclass(frozen=True)
class CaseResult:
    """One case: where it stands (`file:line`), and a line for each thing that differed."""

    name: str
    place: str
    differences: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.differences


@dataclass(frozen=True)
class CaseReport:
    """All cases of a file, and the policy's rules that no case made decide."""

    results: tuple[CaseResult, ...]
    untested: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every case passed."""
        return all(result.passed for result in self.results)

    def lines(self) -> Iterator[str]:
        """What the command prints: each failure with expected and got, then a summary."""
        failed = [result for result in self.results if not result.passed]
        for result in failed:
            yield f"{result.place}: {result.name}"
            yield from (f"    {difference}" for difference in result.differences)
        yield f"{len(self.results) - len(failed)} passed, {len(failed)} failed"
        if self.untested:
            yield f"decided in no case: {', '.join(self.untested)}"


def run_cases(policy_path: Path, cases_path: Path) -> CaseReport:
    """Judge every case. Raises PolicyRefused with the problems when either file is wrong."""
    policy = load(policy_path)
    cases = read_cases(read_text(cases_path), str(cases_path))
    names = {rule.name for rule in policy.rules}
    decided: set[str] = set()
    results = []
    for case in cases:
        verdict = evaluate(policy, case.attempt, case.grants(policy))
        decided.update(verdict.rules)
        results.append(
            CaseResult(case.name, case.place, (*_unknown(case, names), *_differences(case.expected, verdict)))
        )
    return CaseReport(tuple(results), _untested(policy, decided))


def read_cases(text: str, file: str) -> tuple[Case, ...]:
    """Parse a file of cases. Raises PolicyRefused with everything that is wrong."""
    document = Document(text, file)
    data = document.source.data
    cases: Any = data.get("cases") if isinstance(data, dict) else None
    found: list[Case] = []
    if not isinstance(cases, list) or not cases:
        document.wrong((), "a file of cases starts with `cases:`, a list of cases, each starting with `- name:`")
    else:
        document.mapping((), data, ("cases",), "a file of cases")
        for index, each in enumerate(cases):
            known = document.mapping(("cases", index), each, _KEYS, "a case")
            found += [case] if (case := read_case(document, ("cases", index), known)) else []
    if document.errors:
        raise PolicyRefused(document.errors)
    return tuple(found)


def _unknown(case: Case, names: set[str]) -> Iterator[str]:
    yield from (f"grants: no rule is called {name}" for name in case.granted if name not in names)


def _differences(expected: dict[str, Any], verdict: Verdict) -> Iterator[str]:
    """A line per expectation that was not met; only what the case names is compared."""
    got = _comparable(verdict)
    for key, value in expected.items():
        if key == "reason":
            if value not in verdict.reason:
                yield f"reason: expected words {value!r}, got {verdict.reason!r}"
        elif isinstance(value, dict):
            actual = got[key] or {}
            for inner, wanted in value.items():
                if not _same(wanted, actual.get(inner)):
                    yield f"{key}.{inner}: expected {_shown(wanted)}, got {_shown(actual.get(inner))}"
        elif not _same(value, got[key]):
            yield f"{key}: expected {_shown(value)}, got {_shown(got[key])}{_why(key, verdict)}"


def _comparable(verdict: Verdict) -> dict[str, Any]:
    terms = verdict.terms
    return {
        "decision": verdict.decision.value,
        "rules": list(verdict.rules),
        "mask": verdict.obligations.mask.model_dump(),
        "limit": verdict.obligations.limit.model_dump(),
        "record": verdict.obligations.record,
        "by": sorted({group for each in terms.requirements for group in each.by}) if terms else [],
    }


def _same(expected: Any, got: Any) -> bool:
    """Lists in a verdict are sets."""
    if isinstance(expected, list):
        return sorted(map(str, expected)) == sorted(map(str, got or []))
    return bool(expected == got)


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _why(key: str, verdict: Verdict) -> str:
    if key != "decision":
        return ""
    rules = f" by {', '.join(verdict.rules)}" if verdict.rules else ""
    return f"{rules}: {verdict.reason}" if verdict.reason else rules


def _untested(policy: Policy, decided: set[str]) -> tuple[str, ...]:
    return tuple(rule.name for rule in policy.rules if rule.name not in decided)
