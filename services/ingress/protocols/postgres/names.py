"""What the agent has given names to: prepared statements, portals, cursors; pure.

A name must never stand for another text here than at the server. A statement that is being prepared counts for the
messages behind it up to the next Sync, for if preparing fails the server drops those unread; it is kept once the
server says so. Nothing is taken over a Sync that the server has not answered (asking.py waits for it).

SQL's PREPARE and the protocol's Parse share one namespace, and so do DECLARE and Bind (PostgreSQL documentation,
"Extended Query").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.origins import Outputs
from services.ingress.classify.sql.outputs import outputs_of
from services.ingress.classify.sql.statements import Kind, Statement
from services.ingress.masking.rows.fields import Field
from services.ingress.protocols.postgres.judged import Judged

#: NAMEDATALEN - 1: PostgreSQL compares that much of a name.
NAME_BYTES = 63
#: Names of one session, its savepoints among them, and bytes of the texts they stand for (G10): drivers keep a hundred.
MAX_NAMES, MAX_BYTES = 10_000, 64 * 1024**2


#: Their texts need not be counted: each is no longer than `codec.limits.STATEMENT`.
_FEW = 50


@dataclass
class Prepared:
    """A prepared statement; `statement` is None for an empty one."""

    name: str
    statement: Statement | None
    types: tuple[int, ...] = ()
    #: Its columns, once the server has described them.
    fields: tuple[Field, ...] | None = None
    #: Bytes of the message that prepared it.
    size: int = 0


@dataclass
class Portal:
    """A statement with its values, judged; it runs at most once, in one or several Executes."""

    name: str
    prepared: Prepared
    #: None for an empty statement, which needs no judgement.
    judged: Judged | None
    #: Result formats as Bind gave them.
    formats: tuple[int, ...] = ()
    #: Whether the server was asked for its columns.
    described: bool = False


@dataclass
class Cursors:
    """What DECLARE made; one that a rolled back savepoint took along is forgotten, lest a function reuses its name."""

    _declared: dict[str, Statement] = field(default_factory=dict)
    _holdable: set[str] = field(default_factory=set)
    _tentative: dict[str, Statement] = field(default_factory=dict)
    _savepoints: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._declared) + len(self._tentative) + len(self._savepoints)

    @property
    def size(self) -> int:
        """Characters of the texts."""
        return sum(len(one.sql) for names in (self._declared, self._tentative) for one in names.values())

    @property
    def statements(self) -> Mapping[str, Statement]:
        """What FETCH would show, by name."""
        return {**self._declared, **self._tentative}

    def declare(self, statement: Statement, carried: Outputs) -> Callable[[], None]:
        """Count on it until the next Sync; call the answer when the server has it.

        `carried` is kept with it: when it is read, what its query reads may have been given another meaning.
        """
        assert statement.inner is not None
        name, inner = statement.name, replace(statement.inner, carried=carried)
        self._tentative[name] = inner

        def keep() -> None:
            self._declared[name] = inner
            (self._holdable.add if "holdable" in statement.flags else self._holdable.discard)(name)

        return keep

    def close(self, name: str) -> None:
        """Forget one, or all for ""."""
        for gone in (name,) if name else tuple(self._declared):
            self._declared.pop(gone, None)

    def savepoint(self, name: str) -> None:
        """A rollback to it takes what is declared from here on."""
        self._savepoints.append((name, frozenset(self._declared)))

    def rolled_back_to(self, name: str) -> None:
        """The savepoint of that name that was made last, and all behind it, are as they were."""
        while self._savepoints:
            found, kept = self._savepoints[-1]
            if found == name:
                self._declared = {name: one for name, one in self._declared.items() if name in kept}
                return
            self._savepoints.pop()

    def released(self, name: str) -> None:
        """The savepoint of that name that was made last is gone, and all behind it, with what was declared kept."""
        if any(found == name for found, _ in self._savepoints):
            while self._savepoints.pop()[0] != name:
                pass

    def settled(self, *, idle: bool) -> None:
        """The server has answered a Sync or Query."""
        self._tentative.clear()
        if idle:
            self._savepoints.clear()
            self._declared = {name: one for name, one in self._declared.items() if name in self._holdable}


@dataclass
class Names:
    """One session's names."""

    portals: dict[str, Portal] = field(default_factory=dict)
    cursors: Cursors = field(default_factory=Cursors)
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _tentative: dict[str, Prepared | None] = field(default_factory=dict)

    def prepared(self, name: str) -> Prepared | None:
        """What a name stands for to the next message, or None."""
        key = clip(name)
        return self._tentative[key] if key in self._tentative else self._prepared.get(key)

    @property
    def statements(self) -> Mapping[str, Statement]:
        """Every name that stands for a statement to the next message, for `EXECUTE`."""
        if not (self._prepared or self._tentative):
            return {}
        found = {**self._prepared, **self._tentative}
        return {name: one.statement for name, one in found.items() if one is not None and one.statement is not None}

    @property
    def full(self) -> bool:
        """Whether no more names are taken."""
        count = len(self._prepared) + len(self._tentative) + len(self.portals) + len(self.cursors)
        return count >= MAX_NAMES or (count > _FEW and self._size >= MAX_BYTES)

    @property
    def _size(self) -> int:
        prepared = (one for names in (self._prepared, self._tentative) for one in names.values() if one is not None)
        return (
            sum(one.size for one in prepared) + sum(p.prepared.size for p in self.portals.values()) + self.cursors.size
        )

    def prepare(self, prepared: Prepared) -> Callable[[], None]:
        """Count on it until the next Sync; call the answer when the server has prepared it."""
        key = clip(prepared.name)
        self._tentative[key] = prepared

        def keep() -> None:
            self._prepared[key] = prepared

        return keep

    def forget(self, name: str) -> Callable[[], None]:
        """The same for Close and DEALLOCATE."""
        key = clip(name)
        self._tentative[key] = None

        def drop() -> None:
            self._prepared.pop(key, None)

        return drop

    def forget_all(self) -> Callable[[], None]:
        """The same for DEALLOCATE ALL and DISCARD ALL."""
        for key in (*self._prepared, *self._tentative):
            self._tentative[key] = None
        return self._prepared.clear

    def settled(self, *, idle: bool) -> list[Portal]:
        """The server has answered a Sync or Query; `idle` outside a transaction, where portals and cursors end.

        The portals that are gone.
        """
        self._tentative.clear()
        self.cursors.settled(idle=idle)
        return self.take_portals() if idle else []

    def take_portals(self) -> list[Portal]:
        """All portals, which end now."""
        gone, self.portals = list(self.portals.values()), {}
        return gone

    def runs(self, statement: Statement, catalog: Catalog | None) -> Callable[[], None]:
        """A statement is being run: what it does to names. Call the answer when it has succeeded."""
        name = statement.name
        match statement.kind:
            case Kind.PREPARE if statement.inner is not None:
                return self.prepare(Prepared(name, statement.inner, size=len(statement.sql)))
            case Kind.DEALLOCATE:
                return self.forget(name) if name else self.forget_all()
            case Kind.DISCARD if statement.sql.split()[-1].lower() == "all":
                return self._all(self.forget_all())
            case Kind.DECLARE if statement.inner is not None:
                self.portals.pop(name, None)
                return self.cursors.declare(statement, outputs_of(statement, catalog)[0])
            case Kind.CLOSE:
                return lambda: self.cursors.close(name)
            case Kind.SAVEPOINT:
                return lambda: self.cursors.savepoint(name)
            case Kind.RELEASE:
                return lambda: self.cursors.released(name)
            case Kind.ROLLBACK_TO:
                return lambda: self.cursors.rolled_back_to(name)
            case _:
                return nothing

    def _all(self, forget: Callable[[], None]) -> Callable[[], None]:
        def discard() -> None:
            forget()
            self.cursors.close("")

        return discard


def nothing() -> None:
    """Most statements do nothing to names."""


def clip(name: str) -> str:
    """A name as PostgreSQL compares it."""
    if len(name) * 4 <= NAME_BYTES:
        return name
    return name.encode()[:NAME_BYTES].decode("utf-8", "surrogateescape")
