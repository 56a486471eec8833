"""Masked columns whose values a statement would store or send elsewhere, where no rule would find them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pglast import ast, enums

from services.ingress.classify.sql import functions
from services.ingress.classify.sql.catalog import Catalog, Table
from services.ingress.classify.sql.effects import CODE, relation
from services.ingress.classify.sql.model import Kind, Statement
from services.ingress.classify.sql.origins import CALLED, Origin, Outputs
from services.ingress.classify.sql.outputs import outputs_of
from services.ingress.classify.sql.rules import Rules
from services.ingress.classify.sql.seen import Seen, functions_called
from services.ingress.classify.sql.tracing import traced

#: ALTER TABLE by which a table's rows are no longer those of its parent.
_LEAVING = (enums.AlterTableType.AT_DetachPartition, enums.AlterTableType.AT_DropInherit)
#: Said of code that the agent wrote and the gateway does not read.
UNREAD = "what its code reads"


def copied_columns(statement: Statement, rules: Sequence[str], catalog: Catalog | None) -> tuple[str, ...]:
    """The columns, as words for the agent; not empty means that the statement must be refused under these rules.

    INSERT … SELECT, CREATE TABLE AS, UPDATE … SET other = email, set_config(…, email), pg_notify(…, email), COPY to a
    file, ALTER TABLE with values of another column, renaming and detaching; DO and what stores code. A view copies
    nothing: its columns are followed. A materialized view does, for what its query meant may change behind it. What
    functions of the database's own do is its owner's affair, unless a masked column is handed to one that may write.
    """
    if not rules or statement.kind is Kind.PREPARE:
        return ()
    if statement.tree is None or CODE in statement.flags:
        return (UNREAD,)
    wanted = Rules(rules)
    outputs, seen = outputs_of(statement, catalog)
    carried: set[Origin] = set(_assigned(seen, wanted)) | set(_handed_on(seen, wanted, catalog))
    if _stores_its_output(statement):
        carried |= _masked(outputs.all, wanted)
    carried |= set(_worked_out(statement, wanted, catalog))
    moved = {*_renamed(statement, wanted, catalog), *_redefined(statement, wanted, catalog)}
    return tuple(sorted({str(origin) for origin in carried} | moved))


def _assigned(seen: Seen, rules: Rules) -> Iterable[Origin]:
    for assignment in seen.assigned:
        if not rules.masks(assignment.target) or assignment.target.column == "*":
            yield from _masked(assignment.origins, rules)


def _handed_on(seen: Seen, rules: Rules, catalog: Catalog | None) -> Iterable[Origin]:
    """To functions that may write."""
    for name, given in seen.calls:
        found = functions_called(catalog, name)
        bare = name.rpartition(".")[2]
        if found is None or any(
            each.volatility == "v" and not (each.builtin and functions.harmless(bare)) for each in found
        ):
            yield from _masked(given, rules)


def _masked(origins: Iterable[Origin], rules: Rules) -> set[Origin]:
    return {origin for origin in origins if origin not in CALLED and rules.masks(origin)}


def _stores_its_output(statement: Statement) -> bool:
    tree = statement.tree
    match tree:
        case ast.CreateTableAsStmt():
            return True
        case ast.SelectStmt():
            return tree.intoClause is not None
        case ast.CopyStmt():
            return not tree.is_from and bool(tree.filename)
    return False


def _worked_out(statement: Statement, rules: Rules, catalog: Catalog | None) -> Iterable[Origin]:
    """ALTER TABLE that fills a column with what others hold: GENERATED, TYPE … USING."""
    tree = statement.tree
    for command in (tree.cmds or ()) if isinstance(tree, ast.AlterTableStmt) else ():
        column = command.name or getattr(command.def_, "colname", None) or ""
        if all(rules.masks(Origin(*place, column)) for place in _places(tree.relation, catalog)):
            continue
        for value in _filling(command):
            of_it = ast.SelectStmt(targetList=(ast.ResTarget(val=value),), fromClause=(tree.relation,), op=0)
            yield from _masked(traced(of_it, catalog)[0].all, rules)


def _filling(command: Any) -> Iterable[Any]:
    """The expressions whose values a column then holds."""
    given = command.def_
    match command.subtype:
        case enums.AlterTableType.AT_SetExpression:
            yield given
        case enums.AlterTableType.AT_DropExpression:  # what it has been generated from so far stays in it
            yield ast.ColumnRef(fields=(ast.String(command.name),))
        case enums.AlterTableType.AT_AlterColumnType if given.raw_default is not None:
            yield given.raw_default
        case enums.AlterTableType.AT_AddColumn:
            constraints = given.constraints or ()
            yield from (each.raw_expr for each in constraints if each.contype == enums.ConstrType.CONSTR_GENERATED)


def _redefined(statement: Statement, rules: Rules, catalog: Catalog | None) -> Iterable[str]:
    """A view of a masked column may not be given another meaning while a materialized view holds its former rows."""
    tree = statement.tree
    if not (isinstance(tree, ast.ViewStmt) and tree.replace):
        return
    if catalog is None:
        yield "what a materialized view may hold"
        return
    named = relation(tree.view)
    for view in catalog.relations(named.schema, named.name):
        if rules.meet(_reading(view, catalog)[0].all) and any(
            (view.schema, view.name) in _reading(other, catalog)[1].relations
            for other in catalog.tables
            if other.kind == "m"
        ):
            yield f"{view.schema}.{view.name}"


def _reading(table: Table, catalog: Catalog) -> tuple[Outputs, Seen]:
    star = ast.ResTarget(val=ast.ColumnRef(fields=(ast.A_Star(),)))
    source = ast.RangeVar(schemaname=table.schema, relname=table.name, inh=True, relpersistence="p")
    return traced(ast.SelectStmt(targetList=(star,), fromClause=(source,), op=0), catalog)


def _renamed(statement: Statement, rules: Rules, catalog: Catalog | None) -> Iterable[str]:
    """A table, column or schema under another name, or a partition by itself, is no longer the rule's."""
    tree = statement.tree
    if isinstance(tree, ast.AlterTableStmt):
        if any(command.subtype in _LEAVING for command in tree.cmds or ()):
            named = relation(tree.relation)
            tables = catalog.relations(named.schema, named.name) if catalog else ()
            family = (
                {(each.schema, each.name) for table in tables for each in catalog.family(table)} if catalog else set()
            )
            yield from (".".join(place) for place in sorted(family) if rules.of_table(*place))
            if not family:
                yield "what its partition holds"
        return
    if not isinstance(tree, ast.RenameStmt | ast.AlterObjectSchemaStmt):
        return
    if tree.relation is None:
        if isinstance(tree, ast.RenameStmt) and tree.renameType == enums.ObjectType.OBJECT_SCHEMA:
            yield from (each for each in rules.in_schema(tree.subname or "", catalog))
        return
    places = _places(tree.relation, catalog)
    yield from (".".join(filter(None, place)) for place in sorted(places) if rules.of_table(*place))


def _places(written: Any, catalog: Catalog | None) -> set[tuple[str, str]]:
    """The schema and name of each table that a name may mean."""
    named = relation(written)
    tables = catalog.relations(named.schema, named.name) if catalog else ()
    return {(table.schema, table.name) for table in tables} or {(named.schema, named.name)}
