"""A rule's condition, checked and compiled once: what can be known to be wrong is found here, not at a verdict.

Counterpart: `rules.py` turns a `Problem`'s offset into `file:line:column`; `facts.py` provides what `uses` lists.
"""

import re
from dataclasses import dataclass, field

import cel

from services.policy.analysis import Analysis, Problem, analyse
from services.policy.functions import IMPLEMENTATIONS, RENAMED
from services.policy.tokens import Token, tokenize
from services.policy.vocabulary import CONTENT

#: Characters of one condition: far more than a person can review, far less than what slows a start.
MAX_LENGTH = 8192
#: `list.exists(x, list.exists(y, …))` is as deep as macros nest; `map` and `filter` count twice.
MAX_DEGREE = 3

_CEL_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class ExpressionRefused(Exception):
    """A condition that cannot be used; `problems` says where and why."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(problem.message for problem in problems))


@dataclass(frozen=True)
class Expression:
    """A compiled condition.

    `uses` holds `variable.attribute` for variables with attributes and the bare name for the others; `degree` is the
    power of the longest list's length that evaluating it may take.
    """

    source: str
    program: cel.Program = field(compare=False, repr=False)
    uses: frozenset[str]
    functions: frozenset[str]
    degree: int

    @property
    def reads_content(self) -> bool:
        """Whether it looks at what is unknown when the content went on past the inspection window."""
        return not self.uses.isdisjoint(CONTENT)


def compile_expression(source: str) -> Expression:
    """Check and compile one condition. Raises ExpressionRefused with everything that is wrong with it."""
    if len(source) > MAX_LENGTH:
        raise ExpressionRefused(Problem(0, f"the condition is longer than {MAX_LENGTH} characters; split the rule"))
    parsed = _parse(source)
    tokens = tokenize(source)
    found = _analyse(parsed, tokens)
    problems = [*found.problems, *_too_costly(found)]
    if problems:
        raise ExpressionRefused(*sorted(problems))
    return Expression(
        source=source,
        program=_parse(_renamed(source, tokens, found.calls)),
        uses=frozenset(found.uses),
        functions=frozenset(_implemented(found)),
        degree=found.degree,
    )


def _analyse(parsed: cel.Program, tokens: list[Token]) -> Analysis:
    """The analysis, if the engine reads the same names as we do: what we cannot read we do not let pass."""
    try:
        found = analyse(tokens)
    except (KeyError, IndexError):
        found = None
    if found is None or not found.names.issuperset(name.lstrip(".") for name in parsed.variables()):
        raise ExpressionRefused(Problem(0, "this is written in a way that cannot be checked; write it more simply"))
    return found


def _parse(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except (ValueError, RuntimeError) as error:
        raise ExpressionRefused(_syntax_problem(source, str(error))) from None


def _syntax_problem(source: str, message: str) -> Problem:
    if "Recursion limit" in message:
        return Problem(0, "the condition nests too deeply; split the rule")
    found = _CEL_ERROR.search(message)
    if found is None:
        return Problem(0, "not a CEL expression")
    line, column, text = int(found[1]), int(found[2]), found[3]
    before = source.split("\n")[: line - 1]
    offset = sum(len(each) + 1 for each in before) + column - 1
    return Problem(min(offset, len(source)), f"not CEL: {_readable(text)}")


def _readable(text: str) -> str:
    """The engine's words without its grammar: the list of every token it would have liked instead helps nobody."""
    text = text.removeprefix("Syntax error: ")
    text = re.sub(r"(mismatched|extraneous) input '<EOF>'.*", "something is missing at the end", text)
    text = re.sub(
        r"(?:mismatched|extraneous|no viable alternative at) input ('.*?')(?: expecting .*)?$", r"unexpected \1", text
    )
    return text.replace("'<EOF>'", "the end")


def _too_costly(found: Analysis) -> list[Problem]:
    if found.degree <= MAX_DEGREE:
        return []
    return [Problem(found.costliest, "macros nest too deeply here: its time would grow without bound; split the rule")]


def _renamed(source: str, tokens: list[Token], calls: dict[int, str]) -> str:
    """The source with calls to our own functions in the place of the engine's."""
    parts, end = [], 0
    for index, name in calls.items():
        if name in RENAMED:
            token = tokens[index]
            parts += [source[end : token.start], RENAMED[name]]
            end = token.start + len(token.text)
    return "".join([*parts, source[end:]])


def _implemented(found: Analysis) -> set[str]:
    names = {RENAMED.get(name, name) for name in found.calls.values()}
    return names & IMPLEMENTATIONS.keys()
