"""The blast radius of an UPDATE or DELETE: the SELECT that counts the rows it would touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pglast import ast, enums
from pglast.stream import RawStream

from services.ingress.classify.sql.model import Kind, Statement
from services.ingress.classify.sql.text_guard import scan
from services.ingress.classify.sql.walk import nodes

_WRITING = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


@dataclass(frozen=True, slots=True)
class Preview:
    """`sql` counts the rows (one row, one bigint) with the same parameters; or `problem` says why it cannot be told."""

    sql: str = ""
    #: Numbers of the parameters that `sql` uses, ascending: bind these, in this order, as $1, $2, …
    parameters: tuple[int, ...] = ()
    problem: str = ""


def preview(statement: Statement) -> Preview:
    """The count for a resolved UPDATE or DELETE.

    Each row of the table counts once, however many rows of FROM or USING it is joined with: so does PostgreSQL.
    """
    tree = statement.tree
    if not isinstance(tree, ast.UpdateStmt | ast.DeleteStmt):
        return Preview(problem="not an UPDATE or DELETE")
    problem = _problem(statement, tree)
    if problem:
        return Preview(problem=problem)
    if statement.kind is Kind.EXECUTE and statement.arguments:
        return Preview(problem="the values of EXECUTE are not counted with")
    try:
        return _renumbered(RawStream()(_count(tree)))
    except (NotImplementedError, AttributeError, TypeError, ValueError, RecursionError):
        return Preview(problem="its predicate cannot be written as a query")


def unqualified(statement: Statement) -> frozenset[str]:
    """The relations it names without a schema, CTEs among them: which they are is for the session to say."""
    named = (node for node in nodes(statement.tree) if isinstance(node, ast.RangeVar) and not node.schemaname)
    return frozenset(node.relname or "" for node in named)


def _problem(statement: Statement, tree: Any) -> str:
    where = tree.whereClause
    if where is not None and any(isinstance(node, ast.CurrentOfExpr) for node in nodes(where)):
        return "it is about a cursor's current row"
    if tree.withClause and any(isinstance(node, _WRITING) for node in nodes(tree.withClause)):
        return "its WITH changes data"
    if {"sql.call", "sql.role", "sql.set", "sql.notify", "sql.lock"} & set(statement.actions):
        return "it calls a function that does something"
    return ""


def _count(tree: Any) -> ast.SelectStmt:
    others = tree.fromClause if isinstance(tree, ast.UpdateStmt) else tree.usingClause
    where = tree.whereClause
    if others:
        inner = _select((), others, where)
        where = ast.SubLink(subLinkType=enums.SubLinkType.EXISTS_SUBLINK, subselect=inner)
    counted = ast.FuncCall(
        funcname=(ast.String("pg_catalog"), ast.String("count")),
        agg_star=True,
        funcformat=enums.CoercionForm.COERCE_EXPLICIT_CALL,
    )
    return _select((ast.ResTarget(val=counted),), (tree.relation,), where, tree.withClause)


def _select(targets: Any, sources: Any, where: Any, with_clause: Any = None) -> ast.SelectStmt:
    return ast.SelectStmt(
        targetList=targets or None,
        fromClause=sources,
        whereClause=where,
        withClause=with_clause,
        op=enums.SetOperation.SETOP_NONE,
        limitOption=enums.LimitOption.LIMIT_OPTION_DEFAULT,
    )


def _renumbered(sql: str) -> Preview:
    """With its parameters numbered from 1 on, without gaps."""
    found = [token for token in scan(sql) if token.name == "PARAM"]
    numbers = sorted({int(sql[token.start + 1 : token.end + 1]) for token in found})
    for token in reversed(found):
        number = numbers.index(int(sql[token.start + 1 : token.end + 1])) + 1
        sql = f"{sql[: token.start]}${number}{sql[token.end + 1 :]}"
    return Preview(sql, tuple(numbers))
