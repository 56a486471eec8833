"""What must be known of a database to tell where a column comes from and what a function may do.

The session runs `QUERIES` on a side connection (simple protocol, text results), gives the rows to `read`, keeps the
catalog for a while, and reads it anew after DDL. While DDL is uncommitted in the session's own transaction, or the
catalog cannot be had, it passes None instead: then whatever would need it is masked, and unknown functions count as
volatile.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
#: One row of a result as text, None for NULL.
Row = Sequence[str | None]


#: Search paths that are kept; agents may set any.
_MAX_PATHS = 64
#: Statements of which a catalog keeps what was told (G10): those that agents send again and again are fewer.
_MAX_KEPT = 1024
#: What does not depend on the search path.
_INDEXES = ("_tables_by_name", "_tables_by_oid", "_children", "_functions_by_name", "_operators")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `number` is pg_attribute.attnum, `type` the OID of its type."""

    name: str
    number: int
    type: int
    #: What a generated column is made of: an expression over the others of its table.
    expression: str = ""


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

    @property
    def temporary(self) -> bool:
        """Temporary tables of any session; they come before all others in its search path."""
        return self.schema.startswith("pg_temp")


@dataclass(frozen=True, slots=True)
class Function:
    """All functions of one name in one schema; the worst of them speaks for all."""

    schema: str
    name: str
    #: `i`, `s` or `v`: pg_proc.provolatile, the most volatile.
    volatility: str
    #: Whether all of them came with the server.
    builtin: bool


@dataclass(frozen=True, eq=False)
class Catalog:
    """A database's relations and functions, and in which schemas unqualified names are looked up."""

    database: str = ""
    tables: tuple[Table, ...] = ()
    functions: tuple[Function, ...] = ()
    #: Symbols of operators that did not come with the server, and the worst volatility of their functions.
    operators: tuple[tuple[str, str], ...] = ()
    #: None when it is not known: then every schema is looked into.
    search_path: tuple[str, ...] | None = None
    #: What lineage has found out about the tables, by OID (tables.py); it does not depend on the search path.
    traced: dict[int, Any] = field(default_factory=dict, repr=False)
    #: What else was told of statements by this catalog and path (`kept_with_catalog`).
    kept: dict[Any, dict[Any, Any]] = field(default_factory=dict, init=False, repr=False)
    #: The same catalog with other search paths.
    _paths: dict[tuple[str, ...] | None, Catalog] = field(default_factory=dict, repr=False)

    def within(self, search_path: tuple[str, ...] | None) -> Catalog:
        """The same with another search path."""
        if search_path == self.search_path:
            return self
        if search_path not in self._paths:
            if len(self._paths) >= _MAX_PATHS:
                self._paths.clear()
            other = replace(self, search_path=search_path)
            other.__dict__.update({name: getattr(self, name) for name in _INDEXES})
            self._paths[search_path] = other
        return self._paths[search_path]

    def release(self) -> None:
        """Nobody asks for it any more: catalogs of other paths, which hold one another, are let go."""
        self._paths.clear()

    def relations(self, schema: str, name: str) -> tuple[Table, ...]:
        """What a name may stand for: one table where it is certain, several where it is not, none if there is none.

        A temporary table may be another session's, so that it never stands alone for an unqualified name.
        """
        named = self._tables_by_name.get(name, ())
        if schema:
            return tuple(table for table in named if _same_schema(table.schema, schema))
        temporary = [table for table in named if table.temporary]
        if self.search_path is None:
            return named
        for place in self._places:
            found = [table for table in named if table.schema == place]
            if found:
                return (*temporary, *found)
        return tuple(temporary)

    def functions_named(self, schema: str, name: str) -> tuple[Function, ...]:
        """Every function a call may mean: of all schemas in the path, for which is taken depends on its arguments."""
        named = self._functions_by_name.get(name, ())
        if schema:
            return tuple(each for each in named if _same_schema(each.schema, schema))
        if self.search_path is None:
            return named
        return tuple(each for each in named if each.schema in self._places)

    def operator(self, symbol: str) -> str | None:
        """The volatility behind an operator of this database's own; None for the server's."""
        return self._operators.get(symbol)

    def by_oid(self, oid: int) -> Table | None:
        """The table of an OID."""
        return self._tables_by_oid.get(oid)

    def family(self, table: Table) -> tuple[Table, ...]:
        """The table, all it inherits from and all that inherit from it: their rows appear in one another."""
        return tuple(self._tables_by_oid[oid] for oid in self._above(table.oid) | self._below(table.oid))

    def _above(self, oid: int) -> set[int]:
        return _closure(oid, lambda each: self._tables_by_oid[each].parents if each in self._tables_by_oid else ())

    def _below(self, oid: int) -> set[int]:
        return _closure(oid, lambda each: self._children.get(each, ()))

    @cached_property
    def _places(self) -> tuple[str, ...]:
        path = self.search_path or ()
        return path if "pg_catalog" in path else ("pg_catalog", *path)

    @cached_property
    def _tables_by_name(self) -> Mapping[str, tuple[Table, ...]]:
        found: dict[str, tuple[Table, ...]] = defaultdict(tuple)
        for table in self.tables:
            found[table.name] += (table,)
        return dict(found)

    @cached_property
    def _tables_by_oid(self) -> Mapping[int, Table]:
        return {table.oid: table for table in self.tables}

    @cached_property
    def _children(self) -> Mapping[int, tuple[int, ...]]:
        found: dict[int, tuple[int, ...]] = defaultdict(tuple)
        for table in self.tables:
            for parent in table.parents:
                found[parent] += (table.oid,)
        return dict(found)

    @cached_property
    def _functions_by_name(self) -> Mapping[str, tuple[Function, ...]]:
        found: dict[str, tuple[Function, ...]] = defaultdict(tuple)
        for function in self.functions:
            found[function.name] += (function,)
        return dict(found)

    @cached_property
    def _operators(self) -> Mapping[str, str]:
        return dict(self.operators)


def kept_with_catalog(tell: Callable[[S, Catalog | None], T]) -> Callable[[S, Catalog | None], T]:
    """Keeps what `tell` answers about a statement, which is compared by identity, as long as the catalog is there."""
    unknown: dict[S, T] = {}

    @wraps(tell)
    def told(statement: S, catalog: Catalog | None) -> T:
        kept = unknown if catalog is None else catalog.kept.setdefault(tell, {})
        found = kept.get(statement)
        if found is None:
            if len(kept) >= _MAX_KEPT:
                del kept[next(iter(kept))]
            found = kept[statement] = tell(statement, catalog)
        return found

    return told


#: What the session runs, by the name under which `read` takes the rows. Each is one statement and only reads.
#: pg_get_viewdef qualifies what the search path does not lead to: with an empty one, everything.
QUERIES: Mapping[str, str] = {
    "path": "SELECT pg_catalog.set_config('search_path', '', false)",
    "tables": """
        SELECT c.oid, n.nspname, c.relname, c.relkind,
               (SELECT pg_catalog.json_agg(ARRAY[a.attname::text, a.attnum::text, a.atttypid::text] ORDER BY a.attnum)
                  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                    THEN pg_catalog.pg_get_viewdef(c.oid) END,
               (SELECT pg_catalog.json_agg(i.inhparent::text) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S', 't')""",
    # By name, for PostgreSQL before 12 knows no attgenerated.
    "generated": """
        SELECT d.adrelid, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
          FROM pg_catalog.pg_attrdef d
          JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND NOT a.attisdropped
         WHERE pg_catalog.to_jsonb(a) ->> 'attgenerated' <> ''""",
    "functions": """
        SELECT n.nspname, p.proname, pg_catalog.max(CASE p.provolatile WHEN 'i' THEN 1 WHEN 's' THEN 2 ELSE 3 END),
               pg_catalog.bool_and(p.oid < 16384)
          FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace GROUP BY 1, 2""",
    "operators": """
        SELECT o.oprname, pg_catalog.max(CASE p.provolatile WHEN 'i' THEN 1 WHEN 's' THEN 2 ELSE 3 END)
          FROM pg_catalog.pg_operator o LEFT JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
         WHERE o.oid >= 16384 GROUP BY 1""",
}
#: Its rows are others after each change of what `QUERIES` read: each version of a row has a later xmin than any that it
#: takes the place of, and a row less is a row less.
MARK = """
    SELECT 'class', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_class UNION ALL
    SELECT 'attribute', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_attribute UNION ALL
    SELECT 'attrdef', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_attrdef UNION ALL
    SELECT 'namespace', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_namespace UNION ALL
    SELECT 'inherits', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_inherits UNION ALL
    SELECT 'proc', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_proc UNION ALL
    SELECT 'operator', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_operator UNION ALL
    SELECT 'rewrite', pg_catalog.count(*), pg_catalog.sum(xmin::text::bigint) FROM pg_catalog.pg_rewrite"""
_VOLATILITY = {"1": "i", "2": "s", "3": "v"}


def read(database: str, results: Mapping[str, Sequence[Row]]) -> Catalog:
    """The catalog, from the rows of each of `QUERIES`. Raises ValueError when they are not what was asked for."""
    try:
        made = {(str(table), str(number)): str(expression) for table, number, expression in results["generated"]}
        return Catalog(
            database,
            tuple(_table(row, made) for row in results["tables"]),
            tuple(
                Function(str(schema), str(name), _VOLATILITY[str(worst)], builtin == "t")
                for schema, name, worst, builtin in results["functions"]
            ),
            tuple((str(symbol), _VOLATILITY[str(worst)]) for symbol, worst in results["operators"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the catalog's rows are not as expected: {type(error).__name__}") from error


def _table(row: Row, made: Mapping[tuple[str, str], str]) -> Table:
    oid, schema, name, kind, columns, definition, parents = row
    return Table(
        int(str(oid)),
        str(schema),
        str(name),
        str(kind),
        tuple(
            Column(column, int(number), int(of), made.get((str(oid), number), ""))
            for column, number, of in json.loads(columns or "[]")
        ),
        definition,
        tuple(int(parent) for parent in json.loads(parents or "[]")),
    )


def search_path(setting: str, user: str) -> tuple[str, ...]:
    """The setting `search_path` (`"$user", public`) as schema names; `user` is the role that is in force."""
    names: list[str] = []
    for name, quoted in _listed(setting):
        found = user if name == "$user" else name if quoted else name.lower()
        if found and found != "pg_temp":  # temporary tables are looked for in any case
            names.append(found)
    return tuple(names)


def _listed(setting: str) -> Iterable[tuple[str, bool]]:
    """The identifiers of a list, and whether each was quoted (SplitIdentifierString in the server)."""
    name, quoted, inside, at = "", False, False, 0
    while at < len(setting):
        character = setting[at]
        if inside and setting.startswith('""', at):
            name, at = name + '"', at + 1
        elif character == '"':
            inside, quoted = not inside, True
        elif character == "," and not inside:
            yield (name if quoted else name.strip()), quoted
            name, quoted = "", False
        elif inside or not character.isspace():
            name += character
        at += 1
    yield name, quoted


def _same_schema(schema: str, named: str) -> bool:
    """`pg_temp` names the session's own temporary schema, `pg_temp_3` or so."""
    return schema == named or (named == "pg_temp" and schema.startswith("pg_temp_"))


def _closure(start: int, step: Callable[[int], Iterable[int]]) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        for each in step(waiting.pop()):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found
