"""What a statement means in this database and session: its functions' volatility, what EXECUTE and FETCH stand for."""

from __future__ import annotations

from collections.abc import Mapping

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.statements import Statement


def resolve(
    statement: Statement,
    catalog: Catalog | None,
    prepared: Mapping[str, Statement] | None = None,
    cursors: Mapping[str, Statement] | None = None,
) -> Statement:
    """The statement as it is to be judged: with its final `action`, `actions`, relations and functions.

    `prepared` and `cursors` are the session's, by name, protocol-level ones included: EXECUTE and FETCH take over what
    the named statement does, and are `sql.unknown` when nobody knows the name. A function that is not known to be
    harmless makes the statement `sql.call`.
    """
    return statement
