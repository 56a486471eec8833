"""pglast's tree, walked without recursion: trees are as deep as their text is long."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pglast import ast


@cache
def _slots(kind: Any) -> tuple[str, ...]:
    return tuple(kind.__slots__)


def children(node: Any) -> Iterator[Any]:
    """The nodes directly below a node or a tuple of nodes."""
    kind: Any = type(node)
    values = node if isinstance(node, tuple) else (getattr(node, name) for name in _slots(kind))
    return (value for value in values if isinstance(value, ast.Node | tuple))


def nodes(tree: Any) -> Iterator[Any]:
    """Every node of a tree, itself included; tuples are looked through."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, tuple):
            yield node
        waiting.extend(children(node))


def dotted(names: Any) -> str:
    """A name of several parts (`public.lower`), in which parts that hold a dot are quoted."""
    parts = [str(part.sval) for part in names or () if isinstance(part, ast.String)]
    return ".".join(f'"{part}"' if "." in part or '"' in part else part for part in parts)
