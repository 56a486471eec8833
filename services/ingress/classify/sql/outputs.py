"""What a statement answers with, whatever kind it is: its output columns and what tracing them came by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pglast import ast

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.model import Statement
from services.ingress.classify.sql.origins import ANYWHERE, NOWHERE, UNTRACED, Origins, Outputs
from services.ingress.classify.sql.seen import Seen, functions_called
from services.ingress.classify.sql.tracing import traced


@lru_cache(maxsize=1024)  # by identity: resolved statements and catalogs are kept
def outputs_of(statement: Statement, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """What a statement answers with, and what tracing it came by."""
    tree = statement.tree
    match tree:
        case ast.ExplainStmt():
            seen = _query(tree.query, catalog)[1]
            return Outputs(None, _explained(seen, catalog)), seen
        case ast.VariableShowStmt() | ast.VariableSetStmt() | ast.TransactionStmt():
            return Outputs(None), Seen()
        case ast.CopyStmt() if tree.query is None:
            return _copied(tree, catalog)
        case ast.CopyStmt():
            return traced(tree.query, catalog)
    return _query(tree, catalog)


def _query(tree: Any, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    inner = getattr(tree, "query", None)
    if isinstance(tree, ast.DeclareCursorStmt | ast.CreateTableAsStmt | ast.ViewStmt):
        return traced(inner, catalog)
    if tree is None or not isinstance(
        tree, ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt
    ):
        return UNTRACED, Seen()
    return traced(tree, catalog)


def _copied(tree: Any, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """COPY table [(columns)] TO: as SELECT of these columns."""
    star = (ast.ResTarget(val=ast.ColumnRef(fields=(ast.A_Star(),))),)
    named = tuple(ast.ResTarget(val=ast.ColumnRef(fields=(name,))) for name in tree.attlist or ())
    select = ast.SelectStmt(targetList=named or star, fromClause=(tree.relation,), op=0)
    return traced(select, catalog)


def _explained(seen: Seen, catalog: Catalog | None) -> Origins:
    """A plan quotes no row; but the planner runs functions that say they are stable, and quotes what they answer."""
    for name, _ in seen.calls:
        found = functions_called(catalog, name)
        if found is None or not all(each.builtin for each in found):
            return ANYWHERE
    return NOWHERE
