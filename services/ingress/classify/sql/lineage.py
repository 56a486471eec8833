"""Which output columns carry a column that a rule masks, however it is renamed, wrapped or passed on.

Three witnesses, and one is enough to mask: the parse tree followed through catalog and views (tracing.py), the table
and column that RowDescription names, and PostgreSQL's own plan. A comparison is no carrying: `WHERE email LIKE 'a%'`
lets an agent infer, and is told to policy as `columns_filtered`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pglast import ast

from services.ingress.classify.sql.catalog import Catalog, Table
from services.ingress.classify.sql.model import Statement
from services.ingress.classify.sql.origins import ANYWHERE, NOWHERE, UNTRACED, Origin, Origins, Output, Outputs
from services.ingress.classify.sql.plans import Plan, read_plan
from services.ingress.classify.sql.seen import Seen, functions_called
from services.ingress.classify.sql.tracing import traced
from services.ingress.masking.rows.fields import Field


def masked_columns(
    statement: Statement,
    fields: Sequence[Field],
    rules: Sequence[str],
    catalog: Catalog | None,
    plan: Any = None,
) -> frozenset[int]:
    """Indexes of the output columns to mask; all of them where it cannot be told.

    `statement` is resolved (EXECUTE and FETCH stand for what they run). `fields` are those of the RowDescription, or
    for COPY TO as many as there are columns (`Field()` each, without a table). `rules` are `table.column` or
    `schema.table.column`. `plan` is the parsed answer to `EXPLAIN (VERBOSE, FORMAT JSON)` of the statement, if it was
    asked for: where the two disagree, the column is masked.
    """
    if not rules or not fields:
        return frozenset()
    wanted = Rules(rules)
    outputs, seen = outputs_of(statement, catalog)
    planned = read_plan(plan) if plan is not None else Plan()
    if planned is None or _unseen(planned, seen, wanted):
        return frozenset(range(len(fields)))
    found = _by_tree(outputs, fields, wanted) | _by_description(fields, wanted, catalog)
    for at, origins in enumerate(planned.outputs):
        if at < len(fields) and wanted.meet(origins):
            found.add(at)
    return frozenset(found)


def outputs_of(statement: Statement, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """What a statement answers with, and what tracing it came by."""
    tree = statement.tree
    match tree:
        case ast.ExplainStmt():
            seen = _query(tree.query, catalog)[1]
            return Outputs(None, _explained(seen, catalog)), seen
        case ast.VariableShowStmt() | ast.VariableSetStmt() | ast.TransactionStmt():
            return Outputs(None), Seen()
        case ast.CopyStmt() if tree.query is None:
            return _copied(tree, catalog)
        case ast.CopyStmt():
            return traced(tree.query, catalog)
    return _query(tree, catalog)


def _query(tree: Any, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    inner = getattr(tree, "query", None)
    if isinstance(tree, ast.DeclareCursorStmt | ast.CreateTableAsStmt | ast.ViewStmt):
        return traced(inner, catalog)
    if tree is None or not isinstance(
        tree, ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt
    ):
        return UNTRACED, Seen()
    return traced(tree, catalog)


def _copied(tree: Any, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """COPY table [(columns)] TO: as SELECT of these columns."""
    star = (ast.ResTarget(val=ast.ColumnRef(fields=(ast.A_Star(),))),)
    named = tuple(ast.ResTarget(val=ast.ColumnRef(fields=(name,))) for name in tree.attlist or ())
    select = ast.SelectStmt(targetList=named or star, fromClause=(tree.relation,), op=0)
    return traced(select, catalog)


def _explained(seen: Seen, catalog: Catalog | None) -> Origins:
    """A plan quotes no row; but the planner runs functions that say they are stable, and quotes what they answer."""
    for name, _ in seen.calls:
        found = functions_called(catalog, name)
        if found is None or not all(each.builtin for each in found):
            return ANYWHERE
    return NOWHERE


def _by_tree(outputs: Outputs, fields: Sequence[Field], rules: Rules) -> set[int]:
    columns = outputs.columns
    if columns is None:
        return set(range(len(fields))) if rules.meet(outputs.all) else set()
    if len(columns) != len(fields) or not all(map(_agree, columns, fields)):
        return set(range(len(fields)))
    return {at for at, column in enumerate(columns) if rules.meet(column.origins | outputs.rest)}


def _agree(column: Output, field: Field) -> bool:
    """Whether the server calls a column as the tree does, where either is sure of it; names have 63 bytes."""
    sure = bool(field.name) and column.named
    return not sure or field.name.encode()[:63] == column.name.encode()[:63]


def _by_description(fields: Sequence[Field], rules: Rules, catalog: Catalog | None) -> set[int]:
    """What the server itself says of a column that is a table's, and be it through aliases and sub-selects."""
    if catalog is None:
        return set(range(len(fields)))
    found = set()
    for at, field in enumerate(fields):
        if not field.table or field.number <= 0:
            continue
        table = catalog.by_oid(field.table)
        if table is None or rules.meet(_origins(catalog, table, field.number)):
            found.add(at)
    return found


def _origins(catalog: Catalog, table: Table, number: int) -> Origins:
    named = [column.name for column in table.columns if column.number == number]
    if not named:
        return ANYWHERE
    return frozenset(Origin(each.schema, each.name, named[0]) for each in catalog.family(table))


def _unseen(plan: Plan, seen: Seen, rules: Rules) -> bool:
    """Whether the plan reads a table with a masked column that the tree did not lead to."""
    return any(rules.of_table(schema, name) for schema, name in plan.relations if (schema, name) not in seen.relations)


class Rules:
    """Column rules; names are compared without case, for nobody means the other column."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = {tuple(_parts(rule)) for rule in rules}
        self._columns = {rule[-2:] for rule in self._rules if len(rule) == 2} | {
            rule for rule in self._rules if len(rule) == 3
        }

    def meet(self, origins: Iterable[Origin]) -> bool:
        """Whether any of these is masked; what may come from anywhere is."""
        return any(self.masks(origin) for origin in origins)

    def masks(self, origin: Origin) -> bool:
        """Whether the column is masked. `*` stands for any name."""
        if origin in ANYWHERE:
            return True
        schema, table, column = (part.lower() for part in origin)
        if column == "*":
            return self.of_table(schema, table)
        return (table, column) in self._columns or (schema, table, column) in self._columns

    def of_table(self, schema: str, table: str) -> bool:
        """Whether the table has a masked column."""
        schema, table = schema.lower(), table.lower()
        return any(rule[-2] == table and (len(rule) == 2 or rule[0] == schema) for rule in self._rules)


def _parts(rule: str) -> list[str]:
    return [part.strip('"').lower() for part in rule.split(".")][-3:]
