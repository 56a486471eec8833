"""Text to statements, by PostgreSQL's own grammar: `parse`. It never raises; what does not parse is `sql.unknown`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pglast import Error, parser

from services.ingress.classify.sql.effects import Effects, effects_of
from services.ingress.classify.sql.kinds import kind_and_action, strongest_first
from services.ingress.classify.sql.model import UNKNOWN, Copy, Kind, Relation, Statement
from services.ingress.classify.sql.text_guard import objection, scan

__all__ = ["UNKNOWN", "Copy", "Kind", "Relation", "Statement", "parse"]

#: Texts whose statements are kept, and the longest kept: agents send the same few texts with other values.
_KEPT, _KEPT_LENGTH = 512, 8 * 1024


def parse(sql: str, *, standard_conforming_strings: bool = True) -> tuple[Statement, ...]:
    """The statements of a query string, in order; none for comments alone.

    `standard_conforming_strings` is the session's setting; False too when it is not known for sure.
    """
    read = _kept if len(sql) <= _KEPT_LENGTH else _read
    return read(sql, standard_conforming_strings)


def _read(sql: str, standard_conforming_strings: bool) -> tuple[Statement, ...]:
    try:
        problem = objection(sql, standard_conforming_strings=standard_conforming_strings)
        if problem:
            return (Statement(sql, problem=problem),)
        return tuple(_statement(sql, raw) for raw in parser.parse_sql(sql))
    except (Error, UnicodeError, RecursionError, ValueError) as error:
        return (Statement(sql, problem=_told(error)),)


_kept = lru_cache(maxsize=_KEPT)(_read)


def _statement(sql: str, raw: Any) -> Statement:
    start = raw.stmt_location
    part = sql[start : start + raw.stmt_len] if raw.stmt_len else sql[start:].rstrip().removesuffix(";")
    lead = len(part) - len(part.lstrip())
    return statement_of(part.strip(), raw.stmt, start + lead)


def statement_of(sql: str, tree: Any, start: int = 0) -> Statement:
    """One tree and its text."""
    kind, action = kind_and_action(tree)
    found = effects_of(tree, action)
    actions = strongest_first(found.actions)
    inner = statement_of(_inner_text(sql, kind), found.inner) if found.inner is not None else None
    return Statement(
        sql,
        kind=kind,
        action=_named(kind, actions, found),
        actions=actions,
        start=start,
        reads=tuple(sorted(found.reads)),
        writes=tuple(sorted(found.writes)),
        functions=tuple(sorted(found.functions)),
        operators=tuple(sorted(found.operators)),
        where_missing=found.where_missing,
        flags=frozenset(found.flags),
        copy=found.copy,
        name=found.name,
        executes=found.executes,
        inner=inner,
        tree=tree,
    )


def _named(kind: Kind, actions: tuple[str, ...], found: Effects) -> str:
    """The strongest; but a COPY that runs a program or touches a file is still called COPY."""
    if found.copy and actions[0] == "sql.call":
        return "sql.copy"
    return actions[0]


#: The word behind which the statement stands that is kept.
_BEFORE_INNER = {Kind.PREPARE: "AS", Kind.DECLARE: "FOR"}


def _inner_text(sql: str, kind: Kind) -> str:
    word = _BEFORE_INNER.get(kind)
    depth = 0
    for token in scan(sql) if word else ():
        depth += {"ASCII_40": 1, "ASCII_41": -1}.get(token.name, 0)
        if token.name == word and not depth:
            return sql[token.end + 1 :].strip()
    return sql


def _told(error: Exception) -> str:
    """In the parser's words, without the text it quotes."""
    return str(error.args[0]).partition(" at or near ")[0] if error.args else type(error).__name__
