"""What a statement means in this database and session: its functions' volatility, what EXECUTE and FETCH stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.ingress.classify.sql import functions
from services.ingress.classify.sql.catalog import Catalog, kept_with_catalog
from services.ingress.classify.sql.kinds import strongest_first
from services.ingress.classify.sql.model import UNKNOWN, Kind, Relation, Statement
from services.ingress.classify.sql.outputs import outputs_of
from services.ingress.classify.sql.seen import Seen, functions_called, reads_anything

_DML = frozenset({"sql.insert", "sql.update", "sql.delete"})
#: What a query may do beside reading. A rule that lets sessions be set up does not mean to let tables be read: a query
#: that does both is `sql.call`.
_ASIDE = frozenset({"sql.set", "sql.notify", "sql.lock"})
_RUNNING = _DML | {"sql.select", "sql.copy", "sql.call"}


def resolve(
    statement: Statement,
    catalog: Catalog | None,
    prepared: Mapping[str, Statement] | None = None,
    cursors: Mapping[str, Statement] | None = None,
) -> Statement:
    """The statement as it is to be judged: with its final `action`, `actions`, relations and functions.

    `prepared` and `cursors` are the session's, by name, protocol-level ones included: EXECUTE and FETCH take over what
    the named statement does, and are `sql.unknown` when nobody knows the name. A function that is not known to be
    harmless makes the statement `sql.call`.
    """
    if statement.executes:
        return _executing(statement, (prepared or {}).get(statement.executes), catalog)
    if statement.kind is Kind.FETCH:
        declared = (cursors or {}).get(statement.name)
        if declared is None:
            return _unknown(statement, "no cursor of this name is known")
        return _standing_for(statement, resolve(declared.inner or declared, catalog, prepared), catalog)
    if statement.problem or statement.kind in (Kind.PREPARE, Kind.UNKNOWN):
        return statement
    return _with_meaning(statement, catalog)


def _executing(statement: Statement, prepared: Statement | None, catalog: Catalog | None) -> Statement:
    if prepared is None:
        return _unknown(statement, "no prepared statement of this name is known")
    meant = resolve(prepared.inner or prepared, catalog)
    if statement.kind is Kind.EXECUTE:
        return _standing_for(statement, meant, catalog)
    if "sql.explain" in statement.actions and "explain_analyze" not in statement.flags:
        called = _union(meant.functions, statement.functions)
        return replace(statement, reads=_union(meant.reads, meant.writes), functions=called)
    return _adding(statement, meant)  # EXPLAIN ANALYZE EXECUTE, CREATE TABLE AS EXECUTE


def _unknown(statement: Statement, problem: str) -> Statement:
    return replace(statement, action=UNKNOWN, actions=(UNKNOWN,), problem=problem)


def _standing_for(statement: Statement, meant: Statement, catalog: Catalog | None) -> Statement:
    """What EXECUTE and FETCH are judged as: the statement named, but with their own text, kind and name."""
    merged = replace(
        meant,
        sql=statement.sql,
        start=statement.start,
        kind=statement.kind,
        name=statement.name,
        executes=statement.executes,
        arguments=tuple(statement.tree.params or ()) if statement.kind is Kind.EXECUTE else (),
        inner=meant,
    )
    if not statement.functions:
        return merged
    called = {action for name in statement.functions for action in _of_function(name, catalog, writing=False)}
    actions = strongest_first({*meant.actions, *called})
    return replace(merged, action=actions[0], actions=actions, functions=_union(meant.functions, statement.functions))


def _adding(statement: Statement, other: Statement) -> Statement:
    actions = strongest_first({*statement.actions, *other.actions} - {UNKNOWN}) or (UNKNOWN,)
    return replace(
        statement,
        action=actions[0],
        actions=actions,
        reads=_union(statement.reads, other.reads),
        writes=_union(statement.writes, other.writes),
        columns_read=_union(statement.columns_read, other.columns_read),
        columns_filtered=_union(statement.columns_filtered, other.columns_filtered),
        functions=_union(statement.functions, other.functions),
        where_missing=statement.where_missing or other.where_missing,
        flags=statement.flags | other.flags,
    )


@kept_with_catalog
def _with_meaning(statement: Statement, catalog: Catalog | None) -> Statement:
    _, seen = outputs_of(statement, catalog)
    called = _union(statement.functions, (name for name, _ in seen.calls))
    actions = set(statement.actions)
    if _runs(statement):
        for name in called:
            actions |= _of_function(name, catalog, writing=bool(actions & _DML))
        for symbol in statement.operators:
            actions |= _of_operator(symbol, catalog)
    reads = tuple(sorted({*_found(statement.reads, catalog), *_below(seen, statement, catalog)}))
    ordered = strongest_first(actions)
    if ordered[0] in _ASIDE and "sql.select" in actions and (reads or not _tell_nothing(called, catalog)):
        ordered = ("sql.call", *ordered)
    return replace(
        statement,
        action="sql.copy" if statement.copy and ordered[0] == "sql.call" else ordered[0],
        actions=ordered,
        reads=reads,
        writes=tuple(sorted(_found(statement.writes, catalog))),
        columns_read=_columns(seen.read | seen.filtered),
        columns_written=_columns(assignment.target for assignment in seen.assigned),
        columns_filtered=_columns(seen.filtered),
        functions=called,
    )


def _tell_nothing(names: Iterable[str], catalog: Catalog | None) -> bool:
    """Whether these functions are the server's, and answer with what they are given at most."""
    found = {name: functions_called(catalog, name) for name in names}
    return all(
        called and all(each.builtin for each in called) and not reads_anything(name) for name, called in found.items()
    )


def _runs(statement: Statement) -> bool:
    """Whether its expressions are evaluated now: not those that EXPLAIN plans, nor what DDL stores."""
    return bool(set(statement.actions) & _RUNNING) or "explain_analyze" in statement.flags


def _of_function(name: str, catalog: Catalog | None, *, writing: bool) -> set[str]:
    """What calling it does; nothing where every function it may mean is known to be harmless."""
    bare = name.rpartition(".")[2]
    found = functions_called(catalog, name)
    if found is None:
        return {"sql.call"}
    if any(not each.builtin and each.volatility == "v" for each in found):
        return {"sql.call"}
    if bare in functions.LOCKS:
        return {"sql.lock"}
    if bare == functions.NOTIFY:
        return {"sql.notify"}
    if bare == functions.SET_CONFIG or functions.harmless(bare) or (bare == functions.NEXT and writing):
        return set()
    volatile = bare in functions.RUNS_TEXT or any(each.volatility == "v" for each in found)
    return {"sql.call"} if volatile else set()


def _of_operator(symbol: str, catalog: Catalog | None) -> set[str]:
    if catalog is None:
        return {"sql.call"} if "." in symbol.strip(".") else set()
    return {"sql.call"} if catalog.operator(symbol.rpartition(".")[2]) == "v" else set()


def _found(relations: Iterable[Relation], catalog: Catalog | None) -> set[Relation]:
    """With the schema that the search path leads to."""
    named: set[Relation] = set()
    for relation in relations:
        tables = catalog.relations(relation.schema, relation.name) if catalog else ()
        named |= {Relation(table.schema, table.name) for table in tables} or {relation}
    return named


def _below(seen: Seen, statement: Statement, catalog: Catalog | None) -> set[Relation]:
    """The tables that views read, besides those named; partitions and parents are the same rows."""
    written = _found(statement.writes, catalog)
    return {Relation(*each) for each in seen.relations} - written if catalog else set()


def _columns(origins: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted({str(origin) for origin in origins}))


def _union(one: Iterable[Any], other: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted({*one, *other}))
