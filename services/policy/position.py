"""Where in the file a character of a condition stands, however YAML wrote the condition.

A scalar's value and its source differ by quotes, escapes, indentation and folded lines; all but white space keeps its
order, so walking both side by side finds every character (YAML 1.2.2, chapters 7.3 and 8.1). Counterpart: `rules.py`.
"""

import re

from services.runtime.settings.yaml_source import Position

_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r?\n|.)", re.DOTALL)
_BLANK_ESCAPES = frozenset({"\\n", "\\t", "\\r", "\\ ", "\\_", "\\N", "\\L", "\\P", "\\v", "\\f", "\\\n", "\\\r\n"})


def locate(text: str, start: Position, value: str, offset: int) -> Position:
    """Position of `value[offset]`, where the scalar `value` starts at `start` in the document `text`.

    Falls back to `start` for a scalar that is written in a way this does not know (an anchor, a tag).
    """
    begin = _index(text, start)
    found = _walk(text, begin, value, offset)
    return start if found is None else _position(text, found)


def _walk(text: str, begin: int, value: str, offset: int) -> int | None:
    """Index in `text` of `value[offset]`; of the character after the last one before it, when that is white space."""
    at, quote = _content(text, begin)
    after = at
    for index, character in enumerate(value):
        if character.isspace():
            if index == offset:
                return after
            continue
        at = _skip_blank(text, at, quote)
        length = _length(text, at, quote, character)
        if length is None:
            return None
        if index == offset:
            return at
        at = after = at + length
    return after


def _content(text: str, begin: int) -> tuple[int, str]:
    """Where a scalar's characters begin, and the quote around them; block scalars begin on the next line."""
    first = text[begin : begin + 1]
    if first in ("'", '"'):
        return begin + 1, first
    if first in ("|", ">"):
        end_of_line = text.find("\n", begin)
        return (len(text) if end_of_line < 0 else end_of_line + 1), ""
    return begin, ""


def _skip_blank(text: str, at: int, quote: str) -> int:
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif quote == '"' and (found := _ESCAPE.match(text, at)) and found[0] in _BLANK_ESCAPES:
            at = found.end()
        else:
            break
    return at


def _length(text: str, at: int, quote: str, character: str) -> int | None:
    """How many characters stand for `character` at `at`, or None when something else stands there."""
    if quote == '"' and (found := _ESCAPE.match(text, at)):
        return len(found[0])
    if quote == "'" and character == "'":
        return 2 if text.startswith("''", at) else None
    return 1 if text.startswith(character, at) else None


def _index(text: str, position: Position) -> int:
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: position.line - 1]) + position.column - 1


def _position(text: str, index: int) -> Position:
    return Position(text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1)
