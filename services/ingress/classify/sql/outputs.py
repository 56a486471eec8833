"""What a statement answers with, whatever kind it is: its output columns and what tracing them came by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pglast import ast

from services.ingress.classify.sql.catalog import Catalog, kept_with_catalog
from services.ingress.classify.sql.model import Statement
from services.ingress.classify.sql.origins import ANYWHERE, NOWHERE, UNTRACED, Origins, Outputs
from services.ingress.classify.sql.seen import Seen, functions_called, reads_anything
from services.ingress.classify.sql.tracing import traced


@kept_with_catalog
def outputs_of(statement: Statement, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """What a statement answers with, and what tracing it came by."""
    tree = statement.tree
    match tree:
        case ast.ExplainStmt(query=ast.ExecuteStmt()):  # its arguments are worked out, and quoted
            told = ANYWHERE if any(map(reads_anything, statement.functions)) else NOWHERE
            return Outputs(None, told | _explained(statement.functions, catalog)), Seen()
        case ast.ExplainStmt():
            seen = _query(tree.query, catalog)[1]
            return Outputs(None, _explained((name for name, _ in seen.calls), catalog)), seen
        case ast.VariableShowStmt() | ast.VariableSetStmt() | ast.TransactionStmt():
            return Outputs(None), Seen()
        case ast.CopyStmt() if tree.query is None:
            return _copied(tree, catalog)
        case ast.CopyStmt():
            return traced(tree.query, catalog)
    return _query(tree, catalog, statement.arguments)


def _query(tree: Any, catalog: Catalog | None, arguments: Sequence[Any] = ()) -> tuple[Outputs, Seen]:
    inner = getattr(tree, "query", None)
    if isinstance(tree, ast.DeclareCursorStmt | ast.CreateTableAsStmt | ast.ViewStmt):
        return traced(inner, catalog)
    if tree is None or not isinstance(
        tree, ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt
    ):
        return UNTRACED, Seen()
    return traced(tree, catalog, arguments)


def _copied(tree: Any, catalog: Catalog | None) -> tuple[Outputs, Seen]:
    """COPY table [(columns)] TO: as SELECT of these columns."""
    star = (ast.ResTarget(val=ast.ColumnRef(fields=(ast.A_Star(),))),)
    named = tuple(ast.ResTarget(val=ast.ColumnRef(fields=(name,))) for name in tree.attlist or ())
    select = ast.SelectStmt(targetList=named or star, fromClause=(tree.relation,), op=0)
    return traced(select, catalog)


def _explained(calls: Iterable[str], catalog: Catalog | None) -> Origins:
    """A plan quotes no row; but the planner runs functions that say they are stable, and quotes what they answer."""
    for name in calls:
        found = functions_called(catalog, name)
        if found is None or not all(each.builtin for each in found):
            return ANYWHERE
    return NOWHERE
