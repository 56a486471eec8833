"""What names a part of a query can see: the relations of its FROM, and those of the queries around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.ingress.classify.sql.origins import NOWHERE, Origins, Output, Outputs

#: Every table has them (PostgreSQL documentation, "System Columns"); they carry no value of a row.
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


@dataclass(frozen=True, slots=True)
class Relation:
    """Something in FROM under the name by which columns are asked of it."""

    alias: str
    outputs: Outputs
    #: That of a table without alias, so that `schema.table.column` finds it.
    schema: str = ""
    #: Of a table that the catalog does not know: its name as written.
    unknown: str = ""

    def column(self, name: str) -> Origins | None:
        """What a column carries; None when there is none of this name."""
        if self.outputs.columns is None:
            return self.outputs.all
        found = [column.origins for column in self.outputs.columns if column.name == name]
        if found:
            return NOWHERE.union(*found)
        unnamed = [column.origins for column in self.outputs.columns if not column.named]
        if unnamed:  # it may be the real name of one of these
            return NOWHERE.union(*unnamed)
        return NOWHERE if name in SYSTEM_COLUMNS else None


@dataclass(slots=True)
class Item:
    """One item of FROM: the names it brings, and what `*` makes of it."""

    relations: tuple[Relation, ...]
    star: Outputs


@dataclass(slots=True)
class Scope:
    """The FROM of one query, and the scopes around it."""

    items: list[Item] = field(default_factory=list)
    outer: Scope | None = None
    #: Reachable by name only: OLD, NEW and EXCLUDED.
    extra: tuple[Relation, ...] = ()

    def relations(self) -> Iterator[Relation]:
        for item in self.items:
            yield from item.relations
        yield from self.extra

    def star(self) -> Outputs:
        """What `*` stands for."""
        return joined(item.star for item in self.items)

    def relation(self, name: str, schema: str = "") -> Relation | None:
        """The relation of that alias, in the nearest scope that has one."""
        scope: Scope | None = self
        while scope is not None:
            for each in scope.relations():
                if each.alias == name and (not schema or each.schema == schema):
                    return each
            scope = scope.outer
        return None

    def column(self, name: str) -> tuple[Origins, bool]:
        """What an unqualified name carries if it is a column, and whether it is one for sure.

        Of every relation of the nearest scope that has such a column; and of those nearer that may have one.
        """
        scope: Scope | None = self
        carried: Origins = NOWHERE
        while scope is not None:
            found = [each for item in scope.items for each in _of(item, name)]
            carried = carried.union(*(origins for origins, _ in found))
            if any(sure for _, sure in found):
                return carried, True
            scope = scope.outer
        return carried, False


def _of(item: Item, name: str) -> Iterator[tuple[Origins, bool]]:
    """What the item has of that name, and whether that is certain."""
    for relation in item.relations:
        origins = relation.column(name)
        if origins is not None:
            columns = relation.outputs.columns
            yield origins, columns is not None and any(column.name == name for column in columns)


def joined(parts: Iterable[Outputs]) -> Outputs:
    """The columns of several, one after the other."""
    columns: list[Output] = []
    rest: Origins = NOWHERE
    known = True
    for part in parts:
        rest |= part.rest
        if part.columns is None:
            known = False
        else:
            columns += part.columns
    if known:
        return Outputs(tuple(columns), rest)
    return Outputs(None, rest.union(*(column.origins for column in columns)))
