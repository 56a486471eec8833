"""`check`, `test` and the files people copy from: examples and every YAML block of docs/policy.md."""

import re
from pathlib import Path

import pytest

from services.policy.cases import read_cases, run_cases
from services.policy.check import check
from services.policy.document import PolicyRefused
from services.policy.rules import parse_policy
from services.policy.vocabulary import ATTRIBUTES, FUNCTIONS, MACROS, PLAIN

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/policy.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
POLICIES = [block for block in BLOCKS if "\nrules:" in "\n" + block]
CASES = [block for block in BLOCKS if "\ncases:" in "\n" + block]

POLICY = """rules:
  - name: chat
    when: action == "llm.chat" && "agents" in identity.groups
    allow: true
    mask: {request: [pii]}
    limit: {rows: 3}
  - name: ask
    when: action == "http.post"
    approve: {by: [dba]}
"""


def files(directory: Path, policy: str, cases: str) -> tuple[Path, Path]:
    (directory / "policy.yaml").write_text(policy)
    (directory / "cases.yaml").write_text(cases)
    return directory / "policy.yaml", directory / "cases.yaml"


def lines(directory: Path, cases: str) -> list[str]:
    report = run_cases(*files(directory, POLICY, cases))
    return [line.removeprefix(f"{directory}/") for line in report.lines()]


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples/policies").glob("*.cases.yaml")), ids=lambda path: path.name
)
def test_the_examples_decide_as_their_cases_say(example: Path) -> None:
    report = run_cases(example.with_name(example.name.replace(".cases", "")), example)
    assert list(report.lines()) == [f"{len(report.results)} passed, 0 failed"]


@pytest.mark.parametrize("block", POLICIES)
def test_every_policy_of_the_guide_is_one(block: str) -> None:
    assert parse_policy(block).rules


def test_the_guides_cases_hold_for_its_policy(tmp_path: Path) -> None:
    (cases,) = CASES
    (policy,) = [block for block in POLICIES if block.startswith("# the policy")]
    assert len(POLICIES) + len(CASES) == len(BLOCKS)
    assert list(run_cases(*files(tmp_path, policy, cases)).lines()) == ["4 passed, 0 failed"]


def test_the_guide_names_the_whole_vocabulary() -> None:
    names = [f"{variable}.{attribute}" for variable, known in ATTRIBUTES.items() for attribute in known]
    for name in (*names, *PLAIN, *FUNCTIONS, *MACROS):
        assert re.search(rf"[`.]{re.escape(name)}\b|{re.escape(name)}\(", GUIDE), name


def test_check_lists_problems_with_the_file_as_it_was_named(tmp_path: Path) -> None:
    path, _ = files(tmp_path, POLICY.replace("groups", "grups"), "")
    assert check(path) == [f"{path}:3:56: `identity` has no attribute `grups`; did you mean `groups`?"]
    assert check(tmp_path / "absent.yaml") == [f"{tmp_path}/absent.yaml: there is no such file"]
    path.write_bytes(b"\xff")
    assert check(path) == [f"{path}: cannot be read: not UTF-8"]


def test_a_failing_case_shows_expected_and_got_and_where(tmp_path: Path) -> None:
    cases = """cases:
  - name: passes
    when: {identity: {groups: [agents]}, action: llm.chat}
    expect: {decision: allow, rules: [chat], mask: {request: [pii], style: label}, limit: {rows: 3}, record: full}
  - name: differs
    when: {identity: {groups: [agents]}, action: llm.chat}
    expect: {decision: deny, rules: [ask], mask: {request: [secrets]}, limit: {rows: 4}, record: none, by: [dba]}
  - name: words
    when: {}
    expect: {decision: allow, reason: other words}
  - name: typo
    when: {grants: [aks]}
    expect: {decision: deny}
"""
    assert lines(tmp_path, cases) == [
        "cases.yaml:5: differs",
        "    decision: expected deny, got allow by chat",
        "    rules: expected [ask], got [chat]",
        "    mask.request: expected [secrets], got [pii]",
        "    limit.rows: expected 4, got 3",
        "    record: expected none, got full",
        "    by: expected [dba], got []",
        "cases.yaml:8: words",
        "    decision: expected allow, got deny: no rule allows this operation",
        "    reason: expected words 'other words', got 'no rule allows this operation'",
        "cases.yaml:11: typo",
        "    grants: no rule is called aks",
        "1 passed, 3 failed",
        "decided in no case: ask",
    ]


MISTAKES = [
    ("", "a file of cases starts with `cases:`"),
    ("cases: []\n", "a file of cases starts with `cases:`"),
    ("cases:\n  - expect: {decision: deny}\n", "2:5: a case needs `name`"),
    ("cases:\n  - name: x\n", "2:5: a case needs `expect`"),
    (
        "cases:\n  - name: x\n    wen: {}\n    expect: {decision: deny}\n",
        "3:5: unknown key `wen`; did you mean `when`?",
    ),
    ("cases:\n  - name: x\n    when: {acton: a}\n    expect: {decision: deny}\n", "3:12: unknown key `acton`"),
    ("cases:\n  - name: x\n    expect: {decision: pass}\n", "3:24: write one of allow, hold, deny"),
    ("cases:\n  - name: x\n    expect: {mask: pii}\n", "3:20: write what is expected as in a rule's `mask`"),
    (
        "cases:\n  - name: x\n    when: {identity: {grups: []}}\n    expect: {decision: deny}\n",
        "3:23: unknown key `grups`",
    ),
    ("cases:\n  - name: x\n    when: {now: soon}\n    expect: {decision: deny}\n", "3:17: "),
    ("cases:\n  - name: x\n    when: {findings: {EMAIL: many}}\n    expect: {decision: deny}\n", "3:30: "),
    ("cases:\n  - name: x\n    when: {connector: {name: A B}}\n    expect: {decision: deny}\n", "3:30: "),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_in_a_case_is_named_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        read_cases(text, "c.yaml")
    assert any(expected in problem for problem in refused.value.problems), refused.value.problems
