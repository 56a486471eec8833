"""Which column a parameter is compared with or stored in: the name may tell that its value is a secret."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pglast import ast

from services.ingress.classify.sql.statements import parse
from services.ingress.classify.sql.walk import nodes


@lru_cache(maxsize=256)
def parameter_names(sql: str) -> dict[int, str]:
    """The column's name by the parameter's number, where there is one."""
    return dict(pair for statement in parse(sql) if statement.tree for pair in _named(statement.tree))


def _named(tree: Any) -> Iterator[tuple[int, str]]:
    for node in nodes(tree):
        match node:
            case ast.A_Expr():
                yield from _compared(node.lexpr, node.rexpr)
                yield from _compared(node.rexpr, node.lexpr)
            case ast.InsertStmt(selectStmt=ast.SelectStmt(valuesLists=rows)) if node.cols:
                for row in rows or ():
                    yield from (
                        (_number(value), str(column.name))
                        for column, value in zip(node.cols, row, strict=False)
                        if _number(value)
                    )
            case ast.ResTarget() if node.name and _number(node.val):
                yield _number(node.val), str(node.name)


def _compared(column: Any, value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(column, ast.ColumnRef) and column.fields and _number(value):
        last = column.fields[-1]
        if isinstance(last, ast.String):
            yield _number(value), str(last.sval)


def _number(node: Any) -> int:
    """Of a parameter, cast or not; 0 for anything else."""
    while isinstance(node, ast.TypeCast):
        node = node.arg
    return int(node.number or 0) if isinstance(node, ast.ParamRef) else 0
