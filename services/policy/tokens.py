"""A tokenizer for CEL, as far as static checks need one: names, calls and brackets, never what is inside a string.

Counterpart: `expression.py`, which asks it what a condition names. The grammar itself is judged by the `cel` module.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "string", "number", "punctuation"]

#: CEL language definition, section "Syntax". Strings come first: `r"` must not pass for the name `r`.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>
            (?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
          | [bB]?(?:\"{3}(?:\\.|.)*?\"{3}|'{3}(?:\\.|.)*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
      | (?P<number>\.?[0-9](?:[eE][+-]?|[0-9a-zA-Z_.])*)
      | (?P<punctuation>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)

_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_LITERALS = frozenset({"true", "false", "null", "in"})


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `start` counts characters from the condition's beginning."""

    kind: Kind
    text: str
    start: int


def tokenize(expression: str) -> list[Token]:
    """Every token but space and comments. Never fails: what is no token becomes punctuation."""
    tokens = []
    for found in _TOKEN.finditer(expression):
        match found.lastgroup:
            case "name" | "string" | "number" | "punctuation" as kind if found[0] not in _LITERALS:
                tokens.append(Token(kind, found[0], found.start()))
            case "name":
                tokens.append(Token("punctuation", found[0], found.start()))
            case _:
                continue
    return tokens


def pairs(tokens: list[Token]) -> dict[int, int]:
    """Index of every opening bracket to the index of the one that closes it; unbalanced ones are left out."""
    open_at: list[int] = []
    matched = {}
    for index, token in enumerate(tokens):
        if token.kind != "punctuation":
            continue
        if token.text in _OPEN:
            open_at.append(index)
        elif token.text in _CLOSE and open_at:
            matched[open_at.pop()] = index
    return matched


def plain_text(literal: str) -> str | None:
    """What a string literal stands for, if it needs no unescaping beyond `\\\\` and quotes; else None."""
    raw = literal[:1] in "rR"
    body = literal.lstrip("rR")
    if literal[:1] in "bB" or body[:1] in "bB":
        return None
    quote = 3 if body[:3] in ('"""', "'''") else 1
    inside = body[quote:-quote]
    if raw:
        return inside
    simple = re.sub(r"\\([\\\"'`?])", r"\1", inside)
    return None if re.search(r"\\[^\\\"'`?]", inside.replace("\\\\", "")) else simple
