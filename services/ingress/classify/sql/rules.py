"""Column rules: `table.column` or `schema.table.column`, as policy writes them."""

from __future__ import annotations

from collections.abc import Iterable

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.origins import ANYWHERE, CALLED, Origin


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
        if origin in ANYWHERE or origin in CALLED:
            return True
        schema, table, column = (part.lower() for part in origin)
        if column == "*":
            return self.of_table(schema, table)
        if (table, column) in self._columns or (schema, table, column) in self._columns:
            return True
        return not schema and any(rule[1:] == (table, column) for rule in self._columns)

    def of_table(self, schema: str, table: str) -> bool:
        """Whether the table has a masked column."""
        schema, table = schema.lower(), table.lower()
        return any(rule[-2] == table and (len(rule) == 2 or not schema or rule[0] == schema) for rule in self._rules)

    def in_schema(self, schema: str, catalog: Catalog | None) -> tuple[str, ...]:
        """The tables of a schema that have a masked column; the schema itself where that cannot be told."""
        if catalog is None:
            return (schema,)
        tables = (table for table in catalog.tables if table.schema == schema)
        return tuple(f"{table.schema}.{table.name}" for table in tables if self.of_table(table.schema, table.name))


def _parts(rule: str) -> list[str]:
    return [part.strip('"').lower() for part in rule.split(".")][-3:]
