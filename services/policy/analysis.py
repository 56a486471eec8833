"""What a condition names, found from its tokens: unknown names, misspelt attributes, wrong calls, and what it costs.

Counterpart: `vocabulary.py` says what there is. A condition whose every name is known here can still fail when it is
evaluated (an open map may lack a key); then its rule denies.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

import cel

from services.policy.functions import PatternRefused, pattern
from services.policy.tokens import Token, pairs, plain_text
from services.policy.vocabulary import ATTRIBUTES, FUNCTIONS, MACROS, PLAIN, VARIABLES

_TYPE_NAMES = {"text": "text", "number": "a number", "truth": "true or false", "moment": "a moment", "list": "a list"}


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong; `offset` counts characters from the condition's beginning."""

    offset: int
    message: str


@dataclass
class Analysis:
    """What was found."""

    problems: list[Problem] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    #: Every variable, macros' own among them: what the engine must find too.
    names: set[str] = field(default_factory=set)
    #: Token index to name, of every call but macros.
    calls: dict[int, str] = field(default_factory=dict)
    degree: int = 0
    #: Offset of the macro that makes it `degree`.
    costliest: int = 0


@dataclass(frozen=True)
class _Scope:
    """The inside of a macro's brackets, where its variable is known."""

    first: int
    last: int
    variable: str
    cost: int


def analyse(tokens: list[Token]) -> Analysis:
    """Look at every name of a condition that parses."""
    return _Walk(tokens).run()


class _Walk:
    """One pass over the tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._closing = pairs(tokens)
        self._scopes: list[_Scope] = []
        self._found = Analysis()

    def run(self) -> Analysis:
        for index, token in enumerate(self._tokens):
            if token.kind == "name":
                self._name(index, token)
        return self._found

    def _name(self, index: int, token: Token) -> None:
        method = self._text(index - 1) == "."
        if self._text(index + 1) == "(":
            self._call(index, token, method)
        elif not method and token.text not in self._bound(index):
            self._variable(index, token)
        elif method and not self._ends_value(index - 2):
            self._found.names.add(token.text)
            self._problem(token, f"write `{token.text}` without a dot before it")

    def _call(self, index: int, token: Token, method: bool) -> None:
        arguments = self._arguments(index + 1)
        if method and token.text in MACROS:
            self._macro(index, token)
        elif token.text not in FUNCTIONS:
            self._problem(token, f"unknown function `{token.text}`{_suggest(token.text, (*FUNCTIONS, *MACROS))}")
        elif (problem := _wrong_call(token.text, method, len(arguments))) is not None:
            self._problem(token, problem)
        else:
            self._found.calls[index] = token.text
            self._literal(token.text, arguments)
            if token.text == "has":
                self._has(index)

    def _macro(self, index: int, token: Token) -> None:
        variable = self._tokens[index + 2]
        if variable.text in VARIABLES:
            self._problem(variable, f"`{variable.text}` hides the variable of that name; call it something else")
        self._found.names.add(variable.text)
        scope = _Scope(index + 1, self._closing[index + 1], variable.text, MACROS[token.text])
        self._scopes.append(scope)
        degree = sum(each.cost for each in self._around(index)) + scope.cost
        if degree > self._found.degree:
            self._found.degree, self._found.costliest = degree, token.start

    def _variable(self, index: int, token: Token) -> None:
        self._found.names.add(token.text)
        if token.text in PLAIN:
            self._found.uses.add(token.text)
            self._leaf(index, token.text, PLAIN[token.text])
        elif token.text in ATTRIBUTES:
            self._attribute(index, token)
        else:
            self._problem(token, f"unknown variable `{token.text}`{_suggest(token.text, VARIABLES)}")

    def _attribute(self, index: int, token: Token) -> None:
        known = ATTRIBUTES[token.text]
        selected = self._selected(index)
        if selected is None:
            some = ", ".join(f"{token.text}.{name}" for name in list(known)[:2])
            self._problem(token, f"name an attribute of `{token.text}`, such as {some}")
            return
        at, name = selected
        if name not in known:
            self._problem(self._tokens[at], f"`{token.text}` has no attribute `{name}`{_suggest(name, known)}")
            return
        self._found.uses.add(f"{token.text}.{name}")
        end = at if self._tokens[at].kind == "name" else at + 1
        self._leaf(end, f"{token.text}.{name}", known[name])

    def _selected(self, index: int) -> tuple[int, str] | None:
        """Token index and name of `.name` or `["name"]` after the token at `index`."""
        following = self._tokens[index + 2] if index + 2 < len(self._tokens) else None
        if following is None:
            return None
        if self._text(index + 1) == "." and following.kind == "name" and self._text(index + 3) != "(":
            return index + 2, following.text
        if self._text(index + 1) == "[" and following.kind == "string" and self._text(index + 3) == "]":
            name = plain_text(following.text)
            return None if name is None else (index + 2, name)
        return None

    def _leaf(self, index: int, name: str, kind: str) -> None:
        """Refuse `connector.name.first`: text, numbers, truths, moments and lists have no attributes."""
        if kind in _TYPE_NAMES and (selected := self._selected(index)) is not None:
            at, attribute = selected
            self._problem(self._tokens[at], f"`{name}` is {_TYPE_NAMES[kind]} and has no attribute `{attribute}`")

    def _has(self, index: int) -> None:
        """`has(identity.email)` is always true, and would hide missing content: only open maps can lack a key."""
        inside = self._tokens[index + 2 : self._closing[index + 1]]
        if len(inside) == 3 and inside[0].text in ATTRIBUTES:
            name = "".join(each.text for each in inside)
            self._problem(inside[0], f"`{name}` is always there; compare its value instead of asking has()")

    def _literal(self, function: str, arguments: list[list[Token]]) -> None:
        """Try a function on a literal now, that it may not fail at a verdict."""
        if len(arguments) != 1 or len(arguments[0]) != 1 or arguments[0][0].kind != "string":
            return
        token = arguments[0][0]
        if function == "matches" and (text := plain_text(token.text)) is not None:
            try:
                pattern(text)
            except PatternRefused as error:
                self._problem(token, f"not a regular expression of RE2's: {error}")
        elif function in ("duration", "timestamp") and not _evaluates(f"{function}({token.text})"):
            example = "1h30m" if function == "duration" else "2030-01-31T00:00:00Z"
            self._problem(token, f'not a {function}; write one such as {function}("{example}")')

    def _arguments(self, opening: int) -> list[list[Token]]:
        """The tokens of each argument of a call whose bracket is at `opening`."""
        arguments: list[list[Token]] = [[]]
        index, end = opening + 1, self._closing[opening]
        while index < end:
            inner_end = self._closing.get(index, index)
            if self._text(index) == ",":
                arguments.append([])
            else:
                arguments[-1] += self._tokens[index : inner_end + 1]
            index = inner_end + 1
        return arguments if arguments != [[]] else []

    def _around(self, index: int) -> list[_Scope]:
        return [scope for scope in self._scopes if scope.first < index < scope.last]

    def _bound(self, index: int) -> set[str]:
        return {scope.variable for scope in self._around(index)}

    def _ends_value(self, index: int) -> bool:
        """Whether something one can select from ends with the token at `index`."""
        return index >= 0 and (self._tokens[index].kind != "punctuation" or self._tokens[index].text in ")]}")

    def _text(self, index: int) -> str:
        """Text of a token that is punctuation; else, or beyond the ends, nothing."""
        if not 0 <= index < len(self._tokens) or self._tokens[index].kind != "punctuation":
            return ""
        return self._tokens[index].text

    def _problem(self, token: Token, message: str) -> None:
        self._found.problems.append(Problem(token.start, message))


def _wrong_call(name: str, method: bool, arguments: int) -> str | None:
    function = FUNCTIONS[name]
    if function.style == "method" and not method:
        return f"`{name}` is called on a value: write value.{name}(…)"
    if function.style == "free" and method:
        return f"`{name}` is not called on a value: write {name}(…)"
    expected = function.arguments if method else function.arguments + 1
    if arguments == expected:
        return None
    return f"`{name}` takes {expected or 'no'} argument{'' if expected == 1 else 's'} here, not {arguments or 'none'}"


def _evaluates(expression: str) -> bool:
    try:
        cel.compile(expression).execute()
    except (ValueError, RuntimeError, TypeError, OverflowError):
        return False
    return True


def _suggest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(names)}"
