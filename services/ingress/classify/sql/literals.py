"""The constants of a statement read as PostgreSQL reads them, so that no spelling hides a value from the record.

A value may stand in `'…'`, `E'\\x61…'`, `U&'\\0061…'` (with UESCAPE), `$tag$…$tag$`, continued on the next line, or in
a quoted name; `rewritten` shows each to a function and writes back what that makes of it ("Lexical Structure").
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pglast import Error

from services.ingress.classify.sql.text_guard import scan

#: How deep dollar quotes are looked into: a DO block that runs EXECUTE with a text that …
_DEEPEST = 3
_CONSTANTS = frozenset({"SCONST", "USCONST", "IDENT", "UIDENT", "XCONST", "BCONST"})
_DOLLAR = re.compile(r"\$[^$]*\$")
#: Where a constant goes on after a line end.
_CONTINUED = re.compile(r"'(?:[^\S\n]*(?:--[^\n]*)?\n\s*)+'")
_ESCAPE = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|([\s\S]))|''", re.ASCII
)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UESCAPE = re.compile(r"\s+UESCAPE\s+'(.)'", re.IGNORECASE)


class Unreadable(ValueError):
    """The text has no tokens: nobody knows what in it is a constant."""


def rewritten(sql: str, look: Callable[[str], str], deep: int = 0) -> str:
    """The statement with `look(value)` in place of each constant that it changes. Raises Unreadable."""
    try:
        tokens = scan(sql)
    except (Error, UnicodeError, ValueError):
        raise Unreadable from None
    parts: list[str] = []
    done = 0
    for token in tokens:
        if token.name not in _CONSTANTS:
            continue
        raw = sql[token.start : token.end + 1]
        written = _rewritten(raw, sql[token.end + 1 :][:40], look, deep)
        if written != raw:
            parts += (sql[done : token.start], written)
            done = token.end + 1
    return "".join((*parts, sql[done:]))


def unescaped(text: str) -> tuple[str, ...]:
    """The text with everything undone that might be an escape, of either kind: what constants in it may stand for."""
    return _ESCAPE.sub(_escaped, text), _unicode(text, "")


def _rewritten(raw: str, after: str, look: Callable[[str], str], deep: int) -> str:
    tag = _DOLLAR.match(raw)
    if tag:
        value = raw[tag.end() : -tag.end()]
        looked = _inside(value, look, deep)
        return raw if looked == value else f"{tag[0]}{looked}{tag[0]}"
    if raw.endswith('"'):
        value = _unquoted_name(raw, after)
        looked = look(value)
        return raw if looked == value else '"' + looked.replace('"', '""') + '"'
    if not raw.endswith("'"):
        return raw
    value = _value(raw, after)
    looked = look(value)
    return raw if looked == value else "'" + looked.replace("'", "''") + "'"


def _inside(value: str, look: Callable[[str], str], deep: int) -> str:
    """A dollar-quoted text is code as often as not."""
    if deep < _DEEPEST:
        try:
            return look(rewritten(value, look, deep + 1))
        except Unreadable:
            pass
    return look(value)


def _value(raw: str, after: str) -> str:
    """What a constant in single quotes stands for."""
    prefix, _, body = raw.partition("'")
    body = _CONTINUED.sub("", body[:-1])
    match prefix.lower():
        case "e":
            return _ESCAPE.sub(_escaped, body)
        case "u&":
            return _unicode(body.replace("''", "'"), after)
    return body.replace("''", "'")


def _unquoted_name(raw: str, after: str) -> str:
    prefix, _, body = raw.partition('"')
    name = body[:-1].replace('""', '"')
    return _unicode(name, after) if prefix.lower() == "u&" else name


def _escaped(match: re.Match[str]) -> str:
    short, long, hexadecimal, octal, letter = match.groups()
    if short or long or hexadecimal:
        return _character(int(short or long or hexadecimal, 16))
    if octal:
        return chr(int(octal, 8) & 0xFF)
    return _LETTERS.get(letter, letter) if letter else "'"


def _unicode(body: str, after: str) -> str:
    told = _UESCAPE.match(after)
    escape = re.escape(told[1] if told else "\\")
    pattern = rf"{escape}(?:([0-9A-Fa-f]{{4}})|\+([0-9A-Fa-f]{{6}})|({escape}))"
    return re.sub(pattern, lambda match: match[3] or _character(int(match[1] or match[2], 16)), body)


def _character(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\ufffd"
