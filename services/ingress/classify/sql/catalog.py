"""What must be known of a database to tell where a column comes from and what a function may do.

The session runs `QUERIES` on a side connection (simple protocol, text results), gives the rows to `read`, keeps the
catalog for a while, and reads it anew after DDL. While DDL is uncommitted in the session's own transaction, or the
catalog cannot be had, it passes None instead: then whatever would need it is masked, and unknown functions count as
volatile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: One row of a result as text, None for NULL.
Row = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `number` is pg_attribute.attnum, `type` the OID of its type."""

    name: str
    number: int
    type: int


@dataclass(frozen=True, slots=True)
class Table:
    """Anything with rows: `kind` is pg_class.relkind."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...] = ()
    #: A view's query, with every name in it qualified.
    definition: str | None = None
    #: OIDs of the tables it inherits from or is a partition of.
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """All functions of one name in one schema; the worst of them speaks for all."""

    schema: str
    name: str
    #: `i`, `s` or `v`: pg_proc.provolatile, the most volatile.
    volatility: str
    #: Whether all of them came with the server.
    builtin: bool


@dataclass(frozen=True)
class Catalog:
    """A database's relations and functions, and in which schemas unqualified names are looked up."""

    database: str = ""
    tables: tuple[Table, ...] = ()
    functions: tuple[Function, ...] = ()
    #: Symbols of operators that did not come with the server.
    operators: frozenset[str] = field(default_factory=frozenset)
    #: None when it is not known: then every schema is looked into.
    search_path: tuple[str, ...] | None = None

    def within(self, search_path: tuple[str, ...] | None) -> Catalog:
        """The same with another search path."""
        return Catalog(self.database, self.tables, self.functions, self.operators, search_path)


#: What the session runs, by the name under which `read` takes the rows. Each is one statement and only reads.
QUERIES: Mapping[str, str] = {}


def read(database: str, results: Mapping[str, Sequence[Row]]) -> Catalog:
    """The catalog, from the rows of each of `QUERIES`. Raises ValueError when they are not what was asked for."""
    return Catalog(database)


def search_path(setting: str, user: str) -> tuple[str, ...]:
    """The setting `search_path` (`"$user", public`) as schema names; `user` is the role that is in force."""
    return ()
