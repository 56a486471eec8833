"""Masked columns whose values a statement would store or send elsewhere, where no rule would find them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pglast import ast, enums

from services.ingress.classify.sql import functions
from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.effects import CODE, relation
from services.ingress.classify.sql.model import Kind, Statement
from services.ingress.classify.sql.origins import CALLED, Origin
from services.ingress.classify.sql.outputs import outputs_of
from services.ingress.classify.sql.rules import Rules
from services.ingress.classify.sql.seen import Seen, functions_called

#: Said of code that the agent wrote and the gateway does not read.
UNREAD = "what its code reads"


def copied_columns(statement: Statement, rules: Sequence[str], catalog: Catalog | None) -> tuple[str, ...]:
    """The columns, as words for the agent; not empty means that the statement must be refused under these rules.

    INSERT … SELECT, CREATE TABLE AS, UPDATE … SET other = email, set_config(…, email), pg_notify(…, email), COPY to a
    file, renaming; DO and what stores code. A view or materialized view copies nothing: its columns are followed. What
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
    return tuple(sorted({str(origin) for origin in carried} | set(_renamed(statement, wanted, catalog))))


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
            return bool(tree.objtype != enums.ObjectType.OBJECT_MATVIEW)
        case ast.SelectStmt():
            return tree.intoClause is not None
        case ast.CopyStmt():
            return not tree.is_from and bool(tree.filename)
    return False


def _renamed(statement: Statement, rules: Rules, catalog: Catalog | None) -> Iterable[str]:
    """A table, column or schema under another name is no longer the rule's."""
    tree = statement.tree
    if not isinstance(tree, ast.RenameStmt | ast.AlterObjectSchemaStmt):
        return
    if tree.relation is None:
        if isinstance(tree, ast.RenameStmt) and tree.renameType == enums.ObjectType.OBJECT_SCHEMA:
            yield from (each for each in rules.in_schema(tree.subname or "", catalog))
        return
    named = relation(tree.relation)
    tables = catalog.relations(named.schema, named.name) if catalog else ()
    places = {(table.schema, table.name) for table in tables} or {(named.schema, named.name)}
    yield from (".".join(filter(None, place)) for place in sorted(places) if rules.of_table(*place))
