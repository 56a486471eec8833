"""A statement and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.ingress.classify.sql.origins import Outputs
from services.ingress.masking.rows.fields import CopyFormat

UNKNOWN = "sql.unknown"


class Kind(StrEnum):
    """What a statement is to the session that runs it; `QUERY` when nothing needs to be done about it."""

    QUERY = "query"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback_to"
    #: PREPARE TRANSACTION, which ends the transaction; COMMIT PREPARED and ROLLBACK PREPARED are `QUERY`.
    PREPARE_TRANSACTION = "prepare_transaction"
    #: `name` and `inner` hold what is prepared or declared.
    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    DECLARE = "declare"
    FETCH = "fetch"
    CLOSE = "close"
    DISCARD = "discard"
    COPY_IN = "copy_in"
    COPY_OUT = "copy_out"
    LISTEN = "listen"
    UNLISTEN = "unlisten"
    NOTIFY = "notify"
    #: SET and RESET of any setting; `name` is the setting, "" for RESET ALL.
    SET = "set"
    SHOW = "show"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A table, view or sequence as it is named; `schema` is "" where none was written and none was found."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Copy:
    """What a COPY does: `into` the table or out of it, and where its data are."""

    into: bool
    program: bool = False
    #: A file at the server; "" for STDIN and STDOUT.
    file: str = ""
    form: CopyFormat = field(default_factory=CopyFormat)


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement: what it is and touches, as far as its own text tells (`resolving.resolve` tells the rest)."""

    #: Exactly its part of the text, without the semicolon.
    sql: str
    kind: Kind = Kind.UNKNOWN
    #: The strongest of `actions`: what rules are written about.
    action: str = UNKNOWN
    #: Everything it does, strongest first.
    actions: tuple[str, ...] = (UNKNOWN,)
    #: Where it starts in the text, in characters.
    start: int = 0
    reads: tuple[Relation, ...] = ()
    writes: tuple[Relation, ...] = ()
    #: Set by `resolve`: `schema.table.column`, as far as it can be told; `table.*` for all.
    columns_read: tuple[str, ...] = ()
    columns_written: tuple[str, ...] = ()
    #: Columns named in WHERE, HAVING, JOIN … ON, ORDER BY or GROUP BY: what one could infer from.
    columns_filtered: tuple[str, ...] = ()
    #: As called: `lower`, `public.refund`.
    functions: tuple[str, ...] = ()
    #: As written: `+`, `public.===`.
    operators: tuple[str, ...] = ()
    #: UPDATE or DELETE of all rows.
    where_missing: bool = False
    #: What else a rule may ask for: `data_modifying_cte`, `explain_analyze`, `locking`, `holdable`, …
    flags: frozenset[str] = frozenset()
    copy: Copy | None = None
    #: Prepared statement, cursor, savepoint, channel or setting; "" with DEALLOCATE ALL, CLOSE ALL and UNLISTEN *.
    name: str = ""
    #: The prepared statement that EXECUTE, EXPLAIN EXECUTE or CREATE TABLE … AS EXECUTE runs.
    executes: str = ""
    #: EXECUTE's values, as trees.
    arguments: tuple[Any, ...] = field(default=(), repr=False)
    #: What PREPARE and DECLARE keep, and EXPLAIN explains.
    inner: Statement | None = None
    #: What a cursor's columns carried when it was declared: its rows may be of that time.
    carried: Outputs | None = field(default=None, repr=False)
    #: Why it is `sql.unknown`.
    problem: str = ""
    #: pglast's tree, None when it did not parse. Read by this package only.
    tree: Any = field(default=None, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """What a person must read to know what runs: EXECUTE and FETCH with the statement they stand for."""
        if self.kind in (Kind.EXECUTE, Kind.FETCH) and self.inner is not None:
            return f"{self.sql}\n-- {self.name} is:\n{self.inner.sql}"
        return self.sql
