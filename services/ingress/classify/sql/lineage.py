"""Which output columns carry a column that a rule masks, however it is renamed, wrapped or passed on.

Three witnesses, and one is enough to mask: the parse tree followed through catalog and views (tracing.py), the table
and column that RowDescription names, and PostgreSQL's own plan. A comparison is no carrying: `WHERE email LIKE 'a%'`
lets an agent infer, and is told to policy as `columns_filtered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.ingress.classify.sql.catalog import Catalog, Table
from services.ingress.classify.sql.copied import copied_columns
from services.ingress.classify.sql.model import Statement
from services.ingress.classify.sql.origins import ANYWHERE, Origin, Origins, Output, Outputs
from services.ingress.classify.sql.outputs import outputs_of
from services.ingress.classify.sql.plans import Plan, read_plan
from services.ingress.classify.sql.rules import Rules
from services.ingress.classify.sql.seen import Seen
from services.ingress.masking.rows.fields import Field

__all__ = ["copied_columns", "masked_columns"]


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
    if statement.carried is not None:
        found |= _by_tree(statement.carried, fields, wanted)
    for at, origins in enumerate(planned.outputs):
        if at < len(fields) and wanted.meet(origins):
            found.add(at)
    return frozenset(found)


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
