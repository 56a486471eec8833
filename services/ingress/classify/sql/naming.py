"""What PostgreSQL calls an output column that was given no name (FigureColname in its parse_target.c)."""

from __future__ import annotations

from typing import Any

from pglast import ast, enums


def output_name(node: Any) -> tuple[str, bool]:
    """The name, and whether it is sure."""
    match node:
        case ast.ColumnRef():
            last = node.fields[-1] if node.fields else None
            return (str(last.sval), True) if isinstance(last, ast.String) else ("?column?", False)
        case ast.A_Indirection():
            names = [part for part in node.indirection or () if isinstance(part, ast.String)]
            return (str(names[-1].sval), True) if names else output_name(node.arg)
        case ast.FuncCall():
            return (str(node.funcname[-1].sval), False) if node.funcname else ("?column?", False)
        case ast.TypeCast():
            name, sure = output_name(node.arg)
            return (_type_name(node), False) if name == "?column?" else (name, sure)
        case ast.CollateClause():
            return output_name(node.arg)
        case ast.SubLink():
            return _of_sublink(node)
    return "?column?", False


def _type_name(node: Any) -> str:
    names = node.typeName.names if node.typeName else None
    return str(names[-1].sval) if names else "?column?"


def _of_sublink(node: Any) -> tuple[str, bool]:
    if node.subLinkType == enums.SubLinkType.EXISTS_SUBLINK:
        return "exists", False
    targets = getattr(node.subselect, "targetList", None)
    if node.subLinkType == enums.SubLinkType.EXPR_SUBLINK and targets:
        target = targets[0]
        return (target.name, True) if target.name else output_name(target.val)
    return "?column?", False
