"""Judge one parsed statement: may a reader of the audit run it? Pure. Counterpart: `reader_engine.py`.

The statement comes as ClickHouse's own parser sees it (`parseQueryToJSON`), so nothing here depends on how SQL
is spelt. `readonly = 1` on the connection is the first wall and not enough by itself: chDB still runs
`SELECT file('/etc/passwd')`, `INTO OUTFILE`, `DESCRIBE file(…)`, `KILL QUERY` and `python()` under it.

What is executed afterwards is generated from the very JSON that was judged (`formatQueryFromJSON`): a detail the
serialisation should lose is lost for the execution too, and cannot slip past.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.recorder.reader_allowlist import (
    EXPLAIN_OPTIONS,
    FOREIGN_DATABASES,
    FOREIGN_TABLES,
    FORMATS,
    HIDDEN_TABLES,
    QUERY_NODES,
    REFUSED_SHOW_FLAGS,
    STATEMENT_NODES,
    TABLE_FUNCTIONS,
    FunctionAllowlist,
)

Node = Mapping[str, Any]

# ClickHouse's own codes, so that a client shows what it would show for a server's refusal.
ACCESS_DENIED: Final = 497
UNKNOWN_FORMAT: Final = 73
READONLY: Final = 164

_SET_OPERATORS: Final = frozenset(
    {"in", "notin", "globalin", "globalnotin", "nullin", "notnullin", "globalnullin", "globalnotnullin"}
)


class Refused(Exception):
    """The statement is outside what a reader may do. `code` is a ClickHouse error code."""

    def __init__(self, message: str, code: int = ACCESS_DENIED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Rules:
    """`database` is the audit's own: every table in it may be read."""

    functions: FunctionAllowlist
    database: str


def judge(statement: Node, rules: Rules) -> str | None:
    """Answer the statement's FORMAT, None if it has none.

    Raises:
        Refused: anything in it is not on the reader's lists.
    """
    kind = statement.get("type")
    if kind not in STATEMENT_NODES:
        raise Refused(f"{kind} is not a statement that only reads")
    _judge_statement(statement, rules)
    for node, is_table_function in _nodes(statement):
        if node is not statement:
            _judge_node(node, rules, is_table_function)
    return _format(statement)


def _nodes(root: Node) -> Iterator[tuple[Node, bool]]:
    """Every node below and including the root; the flag marks a function that stands where a table does."""
    pending: list[tuple[Any, bool]] = [(root, False)]
    while pending:
        value, is_table_function = pending.pop()
        if isinstance(value, list):
            pending.extend((item, False) for item in value)
        elif isinstance(value, dict):
            if "type" in value:
                yield value, is_table_function
            pending.extend((child, key == "table_function") for key, child in value.items())


def _judge_statement(statement: Node, rules: Rules) -> None:
    _refuse_outfile(statement)
    kind = statement["type"]
    if kind == "ExplainQuery":
        _judge_explained(statement)
    elif kind == "ShowTablesQuery":
        _judge_show(statement, rules)
    elif kind in ("ShowColumnsQuery", "ShowIndexesQuery"):
        _judge_table([part for part in (statement.get("database"), statement.get("table")) if part], rules)


def _judge_explained(statement: Node) -> None:
    query = statement.get("query")
    if not isinstance(query, dict) or query.get("type") != "SelectWithUnionQuery":
        raise Refused("only a SELECT can be explained")


def _judge_show(statement: Node, rules: Rules) -> None:
    for flag in REFUSED_SHOW_FLAGS:
        if statement.get(flag):
            raise Refused(f"SHOW of {flag} tells about the server, not the audit")
    source = statement.get("from")
    if source is not None and source.get("name", "").lower() not in {rules.database, *FOREIGN_TABLES}:
        raise Refused(f"only the tables of {rules.database} can be shown")


def _judge_node(node: Node, rules: Rules, is_table_function: bool) -> None:
    kind = node["type"]
    if kind not in QUERY_NODES:
        raise Refused(f"{kind} is not part of a statement that only reads")
    if kind == "Function":
        _judge_function(node.get("name", ""), rules, is_table_function)
        _judge_set(node, rules)
    elif kind == "ColumnsApplyTransformer":
        if "func_name" in node:
            _judge_function(node["func_name"], rules, False)
    elif kind == "TableIdentifier":
        _judge_table(_parts(node), rules)
    elif kind == "Identifier":
        _judge_identifier(node, rules)
    elif kind == "QueryParameter" and node.get("param_type") == "Identifier":
        raise Refused("a parameter of type Identifier could name any table: write the name into the query")
    elif kind == "SelectWithUnionQuery":
        _refuse_outfile(node)
    elif kind == "SetQuery":
        _judge_settings(node)


def _judge_function(name: str, rules: Rules, is_table_function: bool) -> None:
    if is_table_function:
        if name not in TABLE_FUNCTIONS:
            raise Refused(f"table function {name} is not open to readers")
    elif not rules.functions.allows(name):
        raise Refused(f"function {name} is not open to readers")


def _judge_settings(node: Node) -> None:
    """A SETTINGS clause, or EXPLAIN's options, which are of another kind and all harmless.

    The engine checks the clause at the top against `readonly`, but not one inside a subquery.
    """
    for change in node.get("changes", []):
        if change.get("name") not in EXPLAIN_OPTIONS:
            raise Refused(f"Cannot modify '{change.get('name')}' setting in readonly mode", READONLY)


def _judge_set(function: Node, rules: Rules) -> None:
    """The right side of IN may be a table, and looks just like a column there."""
    if function.get("name", "").lower().replace("ignoreset", "") in _SET_OPERATORS:
        for argument in function.get("arguments", {}).get("children", [])[1:]:
            if argument.get("type") == "Identifier":
                _judge_table(_parts(argument), rules)


def _judge_identifier(node: Node, rules: Rules) -> None:
    """A column, unless it starts as a table elsewhere does: then it is judged as one, wherever it stands."""
    parts = _parts(node)
    if len(parts) > 1 and parts[0].lower() in FOREIGN_DATABASES:
        _judge_table(parts, rules)


def _judge_table(parts: list[str], rules: Rules) -> None:
    if len(parts) == 1 or (len(parts) == 2 and parts[0] == rules.database):
        if parts[-1].lower() in HIDDEN_TABLES:
            raise Refused(f"{parts[-1]} is not open to readers")
        return  # unqualified names are the audit's own: it is the connection's database
    if len(parts) != 2 or parts[1].lower() not in FOREIGN_TABLES.get(parts[0].lower(), ()):
        raise Refused(f"table {'.'.join(parts)} is not open to readers")


def _parts(node: Node) -> list[str]:
    """An identifier's parts; one that is quoted with a dot inside counts as qualified, to be on the safe side."""
    if node.get("children"):
        raise Refused("a table's name cannot be a parameter: write the name into the query")
    parts = node.get("name_parts") or [node.get("name", "")]
    return [piece for part in parts for piece in str(part).split(".")]


def _refuse_outfile(node: Node) -> None:
    if node.get("out_file") is not None or node.get("is_into_outfile_with_stdout"):
        raise Refused("INTO OUTFILE would write on the recorder's machine", READONLY)


def _format(statement: Node) -> str | None:
    clause = statement.get("format_ast")
    if clause is None:
        return None
    check_format(clause.get("name", ""))
    return str(clause["name"])


def check_format(name: str) -> None:
    """Raises Refused for an output format that is unknown or not self-contained."""
    if name not in FORMATS:
        raise Refused(f"format {name} is not open to readers", UNKNOWN_FORMAT)
