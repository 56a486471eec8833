"""PostgreSQL's own plan as a witness: the tables it reads, and the columns its topmost outputs name.

Its output lists are SQL with every name qualified by the alias of a scan (`EXPLAIN (VERBOSE, FORMAT JSON)`). What comes
out of a sub-select or a CTE is named after that and not followed; the parse tree is. The plan only ever adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pglast import Error, ast, parser

from services.ingress.classify.sql.origins import Origin, Origins
from services.ingress.classify.sql.walk import children, dotted


@dataclass(frozen=True, slots=True)
class Plan:
    """`outputs`: of each output the base columns it names; `relations`: (schema, name) of every table scanned."""

    outputs: tuple[Origins, ...] = ()
    relations: frozenset[tuple[str, str]] = frozenset()


def read_plan(answer: Any) -> Plan | None:
    """The plan in EXPLAIN's JSON; None when it is not one."""
    try:
        top = answer[0]["Plan"]
        scans = [node for node in _nodes(top) if "Relation Name" in node]
        tables = {
            str(node.get("Alias", "")): (str(node.get("Schema", "")), str(node["Relation Name"])) for node in scans
        }
        outputs = tuple(_named(str(text), tables) for text in top.get("Output", ()))
    except (KeyError, TypeError, IndexError, AttributeError):
        return None
    return Plan(outputs, frozenset(map(_relation, scans)))


def _relation(node: dict[str, Any]) -> tuple[str, str]:
    return str(node.get("Schema", "")), str(node["Relation Name"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.get("Plans", ()))


def _named(text: str, tables: dict[str, tuple[str, str]]) -> Origins:
    """The base columns in one expression; none in what only the deparser writes (`PARTIAL sum(…)`, `(SubPlan 1)`)."""
    try:
        (statement,) = parser.parse_sql(f"SELECT {text}")
    except (Error, ValueError):
        return frozenset()
    found = set()
    for node in _telling(statement.stmt):
        if isinstance(node, ast.ColumnRef):
            names = [str(part.sval) for part in node.fields or () if isinstance(part, ast.String)]
            if len(names) == 1 and len(tables) == 1:
                found.add(Origin(*next(iter(tables.values())), names[0]))
            elif len(names) == 2 and names[0] in tables:
                found.add(Origin(*tables[names[0]], names[1] if len(node.fields or ()) == 2 else "*"))
    return frozenset(found)


def _telling(tree: Any) -> Iterator[Any]:
    """Every node but those that are only counted."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FuncCall) and dotted(node.funcname) == "count":
            node = (node.agg_filter,)
        elif not isinstance(node, tuple):
            yield node
        waiting.extend(children(node))
