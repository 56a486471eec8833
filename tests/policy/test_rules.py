"""The policy file: every mistake has its line and column, and the same meaning has the same version."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import entities
from schemas.verdicts import Escalation, Share
from services.ingress.masking.entities import SETS
from services.ingress.masking.structure.paths import parse as parse_path
from services.policy.approving import Approve
from services.policy.document import MAX_POLICY, PolicyRefused
from services.policy.effects import Deny
from services.policy.expression import ExpressionRefused, compile_expression
from services.policy.rules import MAX_RULES, Policy, parse_policy

RULE = "rules:\n  - name: a\n    when: {when}\n    {rest}\n"


PIECES = [
    *(
        "'",
        '"',
        '"""',
        "'''",
        "r",
        "b",
        "\\",
        "\n",
        "//",
        " ",
        "(",
        ")",
        "[",
        "]",
        ".",
        ",",
        " && ",
        " == ",
        "1",
        "1.5e3",
    ),
    *(
        "action",
        "identity.kind",
        "findings",
        "has(identity.claims.a)",
        ".exists(x, x == 1)",
        "[1]",
        "x",
        "true",
        "r'\\'",
    ),
]


def problems(text: str) -> list[str]:
    """What parsing complains of, without the file's name."""
    try:
        parse_policy(text, "p.yaml")
    except PolicyRefused as refused:
        return [problem.removeprefix("p.yaml:") for problem in refused.problems]
    return []


def rule(when: str = "true", rest: str = "allow: true") -> str:
    return RULE.format(when=when, rest=rest)


MISTAKES = [
    ("", "a policy starts with `rules:`"),
    ("rules: 1\n", "1:8: write a list of rules"),
    ("rules: []\nrule: []\n", "2:1: unknown key `rule`; did you mean `rules`?"),
    ("rules:\n  - just text\n", "2:5: a rule holds keys"),
    ("rules:\n  - when: true\n    allow: true\n", "2:5: every rule needs a `name`"),
    ("rules:\n  - name: a\n    allow: true\n", "2:5: every rule needs a `when`"),
    ("rules:\n  - name: Big Name\n    when: true\n    allow: true\n", "2:11: write a name of small letters"),
    (rule() + "  - name: a\n    when: true\n    deny: no way\n", "5:11: another rule is called `a` (line 2)"),
    (rule(rest="alow: true"), "4:5: unknown key `alow`; did you mean `allow`?"),
    (rule(rest="allow: true\n    deny: no way"), "5:5: a rule has one effect, not `allow` and `deny`"),
    (rule(rest=""), "2:5: a rule needs an effect"),
    (rule(rest="allow: false"), "4:12: write `allow: true`; to refuse"),
    (rule(rest="deny: no"), "4:11: write the reason in quotes: YAML reads this as false"),
    (rule(rest="deny: ''"), "4:11: write the reason the agent is shown"),
    (rule(rest="deny: nope\n    mask: {response: [pii]}"), "5:5: `mask` goes with an operation that is let through"),
    (rule(rest="approve: {quorum: 1}"), "4:14: `by` is required"),
    (rule(rest="approve: {by: dba}"), "4:19: write a list of groups, such as [dba]"),
    (rule(rest="approve: {by: [dba], quorum: 0}"), "4:34: write a whole number from 1 to 20"),
    (rule(rest="approve: {by: [dba], expires: soon}"), "4:35: write a duration such as"),
    (rule(rest="approve: {by: [dba], grant: 90d}"), "4:33: write a duration above zero and at most 30d"),
    (rule(rest="approve: {by: [dba], slack: }"), "4:32: write a channel"),
    (rule(rest="mask: {request: [secret]}"), "4:22: unknown entity or set `secret`; did you mean `secrets`?"),
    (rule(rest="mask: {response: [SECRETS]}"), "4:23: unknown entity or set `SECRETS`; did you mean `secrets`?"),
    (rule(rest="mask: {request: [Email]}"), "4:22: unknown entity or set `Email`; entities are written as in"),
    (rule(rest="mask: {columns: [email]}"), "4:22: write `email` as table.column"),
    (rule(rest="mask: {fields: [ssn]}"), "4:21: write `ssn` as a path such as $.customer.ssn"),
    (rule(rest="mask: {request: [pii], style: bold}"), "4:35: write one of label, partial, hash, token"),
    (rule(rest="mask: {}"), "4:11: this masks nothing"),
    (rule(rest="limit: {row: 1}"), "4:13: unknown key `row`; did you mean `rows`?"),
    (rule(rest="limit: {rows: -1}"), "4:19: write a whole number"),
    (rule(rest="record: some"), "4:13: write one of full, metadata, none"),
    (rule("5"), "3:11: write a CEL condition"),
    (rule("action =="), "3:20: not CEL: something is missing at the end"),
    (rule("action = 'x'"), "3:18: not CEL"),
    (rule("identity.grups == 'x'"), "3:20: `identity` has no attribute `grups`; did you mean `groups`?"),
    (rule("action in identty.groups"), "3:21: unknown variable `identty`; did you mean `identity`?"),
    (rule("action.startWith('x')"), "3:18: unknown function `startWith`; did you mean `startsWith`?"),
    (rule("contains(action, 'x')"), "3:11: `contains` is called on a value"),
    (rule("now.getHours('UTC') > 1"), "3:15: `getHours` takes no arguments here, not 1"),
    (rule("connector.name.first == 'x'"), "3:26: `connector.name` is text and has no attribute `first`"),
    (rule("operation == 1"), "3:11: name an attribute of `operation`"),
    (rule("operation[action] == 1"), "3:11: name an attribute of `operation`"),
    (rule("has(operation.body)"), "3:15: `operation.body` is always there"),
    (rule("true && .action == 'x'"), "3:20: write `action` without a dot"),
    (rule("action.matches('[')"), "3:26: not a regular expression of RE2's: missing ]"),
    (rule("action.matches('(a{1,100}){1,100}')"), "3:26: not a regular expression of RE2's"),
    (rule("duration('soon') > duration('1h')"), "3:20: not a duration"),
    (rule("operation.resources.all(action, true)"), "3:35: `action` hides the variable"),
    (rule("action == 'identity.grups' && action == \"b.c\" || zoo"), "3:60: unknown variable `zoo`"),
    (rule("(" * 200 + "true" + ")" * 200), "3:11: the condition nests too deeply"),
    (rule("true && [1].map(a, [1].map(b, a)) == []"), "3:34: macros nest too deeply"),
    (rule('"action == \\"x\\" && zoo"'), "3:31: unknown variable `zoo`"),
    (rule("'action == ''x'' && zoo'"), "3:31: unknown variable `zoo`"),
    (rule("|\n      action == 'x'\n\n        && zoo\n"), "6:12: unknown variable `zoo`"),
    (rule(">\n      action == 'x'\n      && action == 'y' && zoo\n"), "5:27: unknown variable `zoo`"),
    (rule("action == 'x'\n      && zoo"), "4:10: unknown variable `zoo`"),
    (rule("\"action == 'é' &&\n      zoo\""), "4:7: unknown variable `zoo`"),
    (rule("action ==\n"), "not CEL"),
    (rule("*other"), "3:11: YAML aliases are not used"),
    ("rules: &x\n  - *x\n", "2:5: YAML aliases are not used"),
    ("rules: [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]\n", "nested too deeply"),
    ("rules: [\n", "not YAML"),
    (rule(rest="allow: true\n    allow: true"), "5:5: the key 'allow' stands here twice"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_place(text: str, expected: str) -> None:
    found = problems(text)
    assert any(each.startswith(expected) or (not expected[0].isdigit() and expected in each) for each in found), found
    assert all(re.match(r"\d+:\d+: ", each) for each in found) or not text


def test_all_mistakes_are_told_at_once_in_order() -> None:
    found = problems(rule("foo && bar", "deny: 1") + "  - when: zoo\n    alow: true\n")
    assert [each.split(": ")[0] for each in found] == ["3:11", "3:18", "4:11", "5:5", "5:11", "6:5"]


@given(st.sampled_from(["plain", "single", "double", "literal", "folded"]), st.integers(0, 5), st.data())
def test_the_column_is_exact_however_the_condition_is_written(style: str, padding: int, data: st.DataObject) -> None:
    """Each clause is a word; the wrong one is found where it stands in the file."""
    words = data.draw(
        st.lists(st.sampled_from(["action == 'é'", "'a\"b' == action", "true", '"\\\\" == action']), max_size=4)
    )
    clauses = [*words, "wrongword"]
    joint = data.draw(st.sampled_from([" && ", "  &&  ", " &&\n      "]))
    if style == "single":
        source = "'" + joint.join(clauses).replace("'", "''") + "'"
    elif style == "double":
        source = '"' + joint.join(clauses).replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif style in ("literal", "folded"):
        source = {"literal": "|", "folded": ">-"}[style] + "\n      " + joint.join(clauses)
    else:
        source = "true && " + joint.join(clauses)
    text = "\n" * padding + rule(source)
    before = text[: text.index("wrongword")]
    place = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    assert problems(text) == [f"{place}: {problems(text)[0].split(': ', 1)[1]}"]


@given(st.text(max_size=300) | st.text("rules: -[]{}\n'\"&*!|>naemwh", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(PolicyRefused):
        assert isinstance(parse_policy(text), Policy)


@given(st.text("action.identity()[]{}&|!=\"'\\ \n,x1", max_size=60))
def test_no_condition_breaks_the_compiler(when: str) -> None:
    indented = "|2-\n" + "\n".join(f"      {line}" for line in when.split("\n"))
    problems(rule(indented))


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_the_engine_and_our_reading_agree(pieces: list[str]) -> None:
    """Whatever compiles names only what was checked: nothing is hidden from the checks by quotes or comments."""
    source = "".join(pieces)
    try:
        found = compile_expression(source)
    except ExpressionRefused as refused:
        assert not any("cannot be checked" in problem.message for problem in refused.problems)  # noqa: PT017
        return
    known = {use.split(".")[0] for use in found.uses} | {"x"}
    assert set(found.program.variables()) <= known


def test_what_is_too_large_is_refused() -> None:
    assert "at most" in problems("#" * (MAX_POLICY + 1))[0]
    assert "at most" in problems("rules:\n" + "  - {name: a, when: true, allow: true}\n" * (MAX_RULES + 1))[0]
    assert "longer than" in problems(rule("action == '" + "x" * 9000 + "'"))[0]


def test_the_effects_are_typed() -> None:
    text = (
        rule(rest='approve: {by: [dba, ops], quorum: 2, expires: 15m, grant: 1h, slack: "#db"}')
        + "  - name: b\n    when: true\n    deny: |\n      Not\n      today\n"
    )
    ask, refuse = parse_policy(text).rules
    assert ask.effect == Approve(("dba", "ops"), 2, 900, 3600, "#db")
    assert refuse.effect == Deny("Not today")


def asking(approve: str) -> Approve:
    """The effect of a rule with this under `approve`."""
    effect = parse_policy(rule(rest=f"approve: {approve}")).rules[0].effect
    assert isinstance(effect, Approve)
    return effect


def test_people_are_asked_for_by_group_and_number() -> None:
    any_of = asking("{by: {any: {dba: 2, oncall: 1}}}")
    assert (any_of.match, any_of.quorum, any_of.by) == ("any", 1, ("dba", "oncall"))
    assert any_of.shares == (Share(group="dba", people=2), Share(group="oncall", people=1))
    all_of = asking("{by: {all: {dba: 1, security: 2}}}")
    assert (all_of.match, all_of.quorum, all_of.people) == ("all", 2, "dba and security")
    both = asking("{by: {all: [dba, security]}, quorum: 2}")
    assert (both.quorum, [share.people for share in both.shares]) == (2, [1, 1])


def test_emergencies_escalation_and_channels() -> None:
    effect = asking(
        "{by: [dba], expires: 15m, escalate: {after: 5m, to: [oncall]}, break_glass: {by: [sre]}, grant: 1h, "
        "max_uses: 3, preview: count, email: [dba@example.com], webhook: pager}"
    )
    assert effect.escalation == Escalation(after=300, to=("oncall",))
    assert (effect.break_glass, effect.max_uses, effect.preview) == (("sre",), 3, "count")
    assert (effect.email, effect.webhook) == (("dba@example.com",), "pager")


@pytest.mark.parametrize(
    ("approve", "complaint"),
    [
        ("{by: ^{any: [a], all: [b]}}", "write `any` or `all`, not both"),
        ("{by: {^some: [a]}}", "unknown key `some`"),
        ("{by: {any: {a: ^0}}}", "write a whole number from 1 to 20"),
        ("{by: {all: ^[]}}", "name at least one group"),
        ("{by: {any: [a]}, ^quorum: 2}", "`any` says for each group how many"),
        ("{by: {all: {a: 3}}, quorum: ^2}", "write a whole number from 3 to 20"),
        ("{by: [a], escalate: ^{after: 5m}}", "`escalate` needs `to`"),
        ("{by: [a], escalate: {after: ^15m, to: [b]}}", "by then the question has expired"),
        ("{by: [a], break_glass: ^[b]}", "`break_glass` holds keys such as `by: …`"),
        ("{by: [a], break_glass: ^{}}", "name the groups that may do it alone"),
        ("{by: [a], ^max_uses: 3}", "`max_uses` bounds a grant; this rule has no `grant`"),
        ("{by: [a], preview: ^exact}", "write one of none, estimate, count"),
        ("{by: [a], email: [^nobody]}", "write `nobody` as an address"),
        ("{by: [a], webhook: ^two words}", "write the name of a webhook"),
    ],
)
def test_what_cannot_be_asked_for_is_told_where_it_stands(approve: str, complaint: str) -> None:
    marked = rule(rest=f"approve: {approve}").splitlines()
    [(line, column)] = [(number, text.index("^")) for number, text in enumerate(marked, 1) if "^" in text]
    assert f"{line}:{column + 1}: {complaint}" in problems("\n".join(marked).replace("^", ""))[0]


@pytest.mark.parametrize(
    "changed",
    [
        "{by: {any: {a: 2, b: 1}}}",
        "{by: {all: [a, b]}}",
        "{by: [a, b], break_glass: {by: [c]}}",
        "{by: [a, b], escalate: {after: 1m, to: [c]}}",
        "{by: [a, b], grant: 1h, max_uses: 2}",
        "{by: [a, b], preview: none}",
    ],
)
def test_who_is_asked_and_how_is_part_of_the_version(changed: str) -> None:
    version = parse_policy(rule(rest=f"approve: {changed}")).version
    assert version != parse_policy(rule(rest="approve: {by: [a, b]}")).version
    swapped = changed.replace("[a, b]", "[b, a]").replace("{a: 2, b: 1}", "{b: 1, a: 2}")
    assert parse_policy(rule(rest=f"approve: {swapped}")).version == version


def test_the_version_is_that_of_the_meaning() -> None:
    one = parse_policy(rule("action == 'x' && true", "allow: true\n    mask: {request: [pii, secrets], style: hash}"))
    other = parse_policy(
        "# words\nrules:\n- mask:\n    style: hash\n    request: [secrets, pii]\n"
        "  allow: yes\n  when: >\n    action ==\n      'x' // why\n    && true\n  name: a\n".replace(" // why", "")
    )
    assert one.version == other.version
    assert re.fullmatch("[0-9a-f]{64}", one.version)


@pytest.mark.parametrize(
    "changed",
    [
        rule("action == 'y'"),
        rule(rest="deny: nope"),
        rule(rest="allow: true\n    limit: {rows: 3}"),
        rule().replace("name: a", "name: b"),
        "rules: []\n",
    ],
)
def test_another_meaning_is_another_version(changed: str) -> None:
    assert parse_policy(changed).version != parse_policy(rule()).version


def test_the_order_of_rules_counts() -> None:
    first, second = "  - {name: a, when: true, allow: true}\n", "  - {name: b, when: true, allow: true}\n"
    versions = {parse_policy("rules:\n" + text).version for text in (first + second, second + first)}
    assert len(versions) == 2


def test_the_sets_are_those_that_masking_knows() -> None:
    assert set(entities.SETS) == set(SETS)


def test_a_field_s_path_is_what_masking_reads() -> None:
    paths = ("$.customer.ssn", "$.items[*].card", "$..iban", "$['first name']", '$..["a b"]', "$.a..b[0].*")
    made = parse_policy(rule("true", f"allow: true\n    mask: {{fields: {json.dumps(paths)}}}"), "policy.yaml")
    assert made.rules[0].mask
    assert made.rules[0].mask.fields == paths
    assert all(parse_path(path) for path in paths)
