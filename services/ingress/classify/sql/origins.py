"""Where values come from: columns of tables, or anywhere, which is what is said when it cannot be told.

    Origin     a column of a table
    Origins    of one value: every column that it may carry something of
    Outputs    of a query: its columns in order, each with its name and origins; or only what all of them carry

Everything errs to one side: an origin too many masks a column too many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Origin(NamedTuple):
    """A column of a table, as the catalog spells them."""

    schema: str
    table: str
    column: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)


Origins = frozenset[Origin]

NOWHERE: Origins = frozenset()
#: Anything the role can read.
ANYWHERE: Origins = frozenset({Origin("*", "*", "*")})
#: Whatever a function reads that did not come with the server.
CALLED: Origins = frozenset({Origin("*", "*", "()")})


class Output(NamedTuple):
    """A column of a result. `named` is False when PostgreSQL makes the name up, and may do so otherwise than we."""

    name: str
    origins: Origins
    named: bool = True


@dataclass(frozen=True, slots=True)
class Outputs:
    """`columns` is None when their number is not known; then each may carry `rest`."""

    columns: tuple[Output, ...] | None
    rest: Origins = NOWHERE

    @property
    def all(self) -> Origins:
        """What any of them carries."""
        return self.rest.union(*(column.origins for column in self.columns or ()))

    def renamed(self, names: Iterable[str]) -> Outputs:
        """With the names of an alias's column list, which may be shorter."""
        if self.columns is None:
            return self
        new = list(self.columns)
        for at, name in enumerate(names):
            if at < len(new):
                new[at] = Output(name, new[at].origins)
        return Outputs(tuple(new), self.rest)

    def merged(self, other: Outputs) -> Outputs:
        """Of UNION and its kin: by position, the names of the first."""
        if self.columns is None or other.columns is None or len(self.columns) != len(other.columns):
            return Outputs(None, self.all | other.all)
        both = zip(self.columns, other.columns, strict=True)
        return Outputs(tuple(Output(a.name, a.origins | b.origins, a.named) for a, b in both), self.rest | other.rest)


#: Of what cannot be traced at all.
UNTRACED = Outputs(None, ANYWHERE)
EMPTY = Outputs(())
