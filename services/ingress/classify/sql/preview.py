"""The blast radius of an UPDATE or DELETE: the SELECT that counts the rows it would touch."""

from __future__ import annotations

from dataclasses import dataclass

from services.ingress.classify.sql.statements import Statement


@dataclass(frozen=True, slots=True)
class Preview:
    """`sql` counts the rows (one row, one bigint) with the same parameters; or `problem` says why it cannot be told."""

    sql: str = ""
    #: Numbers of the parameters that `sql` uses, ascending: bind these, in this order, as $1, $2, …
    parameters: tuple[int, ...] = ()
    problem: str = ""


def preview(statement: Statement) -> Preview:
    """The count for a resolved UPDATE or DELETE."""
    return Preview(problem="not an UPDATE or DELETE")
