"""What tracing a statement has come by: columns read and compared, columns written and with what, functions called."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.ingress.classify.sql.catalog import Catalog, Function
from services.ingress.classify.sql.functions import READS_ANYTHING
from services.ingress.classify.sql.origins import ANYWHERE, CALLED, NOWHERE, Origin, Origins

#: Aggregates that tell how many, not what.
_COUNTING = frozenset({"count"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """A column written, and what its new values carry."""

    target: Origin
    origins: Origins


@dataclass
class Seen:
    """Collected over one statement and the views it reads."""

    read: set[Origin] = field(default_factory=set)
    filtered: set[Origin] = field(default_factory=set)
    relations: set[tuple[str, str]] = field(default_factory=set)
    assigned: list[Assignment] = field(default_factory=list)
    #: Functions and operators called, as written, and what they were given.
    calls: list[tuple[str, Origins]] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """What a view brings."""
        self.relations |= other.relations
        self.calls += other.calls


def functions_called(catalog: Catalog | None, name: str) -> tuple[Function, ...] | None:
    """Those a written name may mean; None when that is not known, or nobody knows one."""
    if catalog is None or '"' in name:  # a part with a dot or quote in it: nobody's honest function
        return None
    schema, _, bare = name.rpartition(".")
    return catalog.functions_named(schema, bare) or None


def answers(catalog: Catalog | None, name: str, given: Origins) -> Origins:
    """What a function's result carries: its arguments, unless it can read more than those."""
    found = functions_called(catalog, name)
    if found is None or not all(each.builtin for each in found):
        return given | CALLED
    if reads_anything(name):
        return ANYWHERE
    return NOWHERE if name.rpartition(".")[2] in _COUNTING else given


def reads_anything(name: str) -> bool:
    """Whether one of the server's own functions tells what its arguments do not."""
    return name.rpartition(".")[2] in READS_ANYTHING
