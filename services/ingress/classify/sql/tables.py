"""What a table's columns carry: themselves, those of its parents and partitions, and for a view what its query does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pglast import Error, ast, parser

from services.ingress.classify.sql.catalog import Catalog, Column, Table
from services.ingress.classify.sql.functions import TELLTALE, TOAST_SCHEMA
from services.ingress.classify.sql.origins import ANYWHERE, CALLED, NOWHERE, UNTRACED, Origin, Origins, Output, Outputs
from services.ingress.classify.sql.seen import Seen, functions_called
from services.ingress.classify.sql.walk import dotted, nodes

#: Traces a view's query.
Trace = Callable[[Any], tuple[Outputs, Seen]]


def outputs_of(catalog: Catalog, table: Table, trace: Trace) -> tuple[Outputs, Seen]:
    """A table's columns, and what reading it comes by. Views that read themselves are untraced."""
    if table.oid not in catalog.traced:
        catalog.traced[table.oid] = UNTRACED, Seen()
        try:
            catalog.traced[table.oid] = _traced(catalog, table, trace)
        except BaseException:
            del catalog.traced[table.oid]
            raise
    found: tuple[Outputs, Seen] = catalog.traced[table.oid]
    return found


def _traced(catalog: Catalog, table: Table, trace: Trace) -> tuple[Outputs, Seen]:
    family = catalog.family(table)
    seen = Seen(relations={(each.schema, each.name) for each in family})
    below: Outputs | None = None
    if table.definition is not None:
        below, inner = _of_view(table.definition, trace)
        seen.add(inner)
        if below.columns is None or len(below.columns) != len(table.columns):
            below = Outputs(None, below.all | ANYWHERE)
    columns: list[Output] = []
    for at, column in enumerate(table.columns):
        origins = _own(table, column.name)
        for each, same in _namesakes(family, column.name):
            origins |= {Origin(each.schema, each.name, column.name)} | _made_of(catalog, family, same)
        if below is not None:
            origins |= below.columns[at].origins if below.columns is not None else below.rest
        columns.append(Output(column.name, origins))
    return Outputs(tuple(columns)), seen


def _namesakes(family: Iterable[Table], name: str) -> Iterator[tuple[Table, Column]]:
    return ((table, column) for table in family for column in table.columns if column.name == name)


def _made_of(catalog: Catalog, family: Iterable[Table], column: Column) -> Origins:
    """What a generated column is worked out from, stored or not: columns of the same row, and functions."""
    if not column.expression:
        return NOWHERE
    try:
        (statement,) = parser.parse_sql(f"SELECT {column.expression}")
    except (Error, ValueError, RecursionError):
        return ANYWHERE
    found: set[Origin] = set()
    for node in nodes(statement.stmt):
        match node:
            case ast.ColumnRef():
                name = str(getattr((node.fields or (None,))[-1], "sval", "*"))
                found |= {Origin(each.schema, each.name, name) for each in family}
            case ast.FuncCall():
                called = functions_called(catalog.within(()), dotted(node.funcname))
                if called is None or not all(each.builtin for each in called):
                    found |= CALLED
            case ast.A_Expr() if catalog.operator(dotted(node.name).rpartition(".")[2]) is not None:
                found |= CALLED
    return frozenset(found)


def _own(table: Table, column: str) -> Origins:
    """ANYWHERE for what holds other tables' values."""
    if table.schema == TOAST_SCHEMA:
        return ANYWHERE
    telling = TELLTALE.get(table.name, frozenset())
    if table.schema != "pg_catalog" and table.name != "pg_stat_statements":
        telling = frozenset()
    return ANYWHERE if telling is None or column in telling else frozenset()


def _of_view(definition: str, trace: Trace) -> tuple[Outputs, Seen]:
    try:
        (statement,) = parser.parse_sql(definition)
        return trace(statement.stmt)
    except (Error, ValueError, RecursionError):
        return UNTRACED, Seen()
