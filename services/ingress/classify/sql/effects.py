"""What a tree does, wherever in it: the actions inside, relations and functions named, and what else rules ask for.

Names are told as they are written; `resolving` and `lineage` tell what they mean. A CTE hides a relation of its name,
exactly where PostgreSQL says it does ("WITH Queries").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums

from services.ingress.classify.sql import functions
from services.ingress.classify.sql.kinds import setting_action
from services.ingress.classify.sql.model import Copy, Relation
from services.ingress.classify.sql.walk import children, dotted, nodes
from services.ingress.masking.rows.fields import CopyFormat

_WRITING = {ast.InsertStmt: "sql.insert", ast.UpdateStmt: "sql.update", ast.DeleteStmt: "sql.delete"}
_MERGE = {
    enums.CmdType.CMD_INSERT: "sql.insert",
    enums.CmdType.CMD_UPDATE: "sql.update",
    enums.CmdType.CMD_DELETE: "sql.delete",
}
_RELATIONS = frozenset(
    {
        enums.ObjectType.OBJECT_TABLE,
        enums.ObjectType.OBJECT_VIEW,
        enums.ObjectType.OBJECT_MATVIEW,
        enums.ObjectType.OBJECT_FOREIGN_TABLE,
        enums.ObjectType.OBJECT_SEQUENCE,
        enums.ObjectType.OBJECT_INDEX,
    }
)
#: Statements that store a query or code for later: nothing of it is done now.
_STORING = (ast.ViewStmt, ast.RuleStmt, ast.CreateFunctionStmt, ast.CreateTrigStmt, ast.CreatePolicyStmt)
#: Where a statement's `name` is in its tree.
_NAMED_BY = ("conditionname", "portalname", "savepoint_name", "gid", "name")
#: Code that agents write and the gateway does not read: DO, and what is stored for later.
CODE = "code"


@dataclass
class Effects:
    """What was found."""

    actions: set[str] = field(default_factory=set)
    reads: set[Relation] = field(default_factory=set)
    writes: set[Relation] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    flags: set[str] = field(default_factory=set)
    where_missing: bool = False
    copy: Copy | None = None
    name: str = ""
    executes: str = ""
    inner: Any = None


def effects_of(tree: Any, action: str) -> Effects:
    """Of one statement, whose own action is given."""
    found = Effects({action})
    match tree:
        case ast.PrepareStmt():
            found.name, found.inner = tree.name or "", tree.query
        case ast.ExplainStmt() if not _is_on(tree.options, "analyze"):
            found.inner = tree.query
            inner = effects_of(tree.query, "sql.select")
            found.reads, found.executes = inner.reads | inner.writes, inner.executes
            found.functions, found.operators = inner.functions, inner.operators
        case _:
            _told_by_statement(found, tree)
            _Collector(found, tree).collect()
    if isinstance(tree, _STORING):
        found.flags.add("stored")
    if found.reads and not isinstance(tree, _STORING) and found.actions & {"sql.insert", "sql.update", "sql.delete"}:
        found.actions.add("sql.select")
    return found


def _told_by_statement(found: Effects, tree: Any) -> None:
    """What only the outermost statement can say."""
    match tree:
        case ast.ExplainStmt():
            found.flags.add("explain_analyze")
            found.inner = tree.query
        case ast.DeclareCursorStmt():
            found.name, found.inner = tree.portalname or "", tree.query
            if (tree.options or 0) & enums.CURSOR_OPT_HOLD:
                found.flags.add("holdable")
        case ast.CopyStmt():
            _copy(found, tree)
        case ast.MergeStmt():
            found.actions.clear()
        case ast.DoStmt() | ast.RuleStmt() | ast.CreateFunctionStmt() | ast.CreateTrigStmt():
            found.flags.add(CODE)
        case ast.DropStmt() if tree.removeType in _RELATIONS:
            found.writes |= {_relation_named(names) for names in tree.objects or () if isinstance(names, tuple)}
        case _:
            found.name = next((told for name in _NAMED_BY if (told := getattr(tree, name, None))), "")


class _Collector:
    """Walks a tree with the names of the CTEs that are visible at each place."""

    def __init__(self, found: Effects, tree: Any) -> None:
        self._found = found
        self._tree = tree

    def collect(self) -> None:
        waiting: list[tuple[Any, frozenset[str]]] = [(self._tree, frozenset())]
        while waiting:
            node, hidden = waiting.pop()
            if isinstance(node, tuple):
                waiting.extend((child, hidden) for child in children(node))
                continue
            visible = hidden
            if getattr(node, "withClause", None) is not None:
                visible = hidden | {cte.ctename for cte in node.withClause.ctes}
                waiting.extend(_queries(node.withClause, hidden, visible))
            self._see(node, visible)
            targets = self._targets(node)
            waiting.extend((child, visible) for child in children(node) if child not in targets and not _is_with(child))

    def _see(self, node: Any, hidden: frozenset[str]) -> None:
        found = self._found
        match node:
            case ast.RangeVar():
                if node.schemaname or node.relname not in hidden:
                    found.reads.add(relation(node))
            case ast.FuncCall():
                self._call(node)
            case ast.A_Expr():
                found.operators.add(dotted(node.name))
            case ast.SelectStmt():
                if node.lockingClause:
                    found.flags.add("locking")
                if node.intoClause:
                    found.actions.add("sql.create")
            case ast.InsertStmt() | ast.UpdateStmt() | ast.DeleteStmt():
                self._write(node)
            case ast.MergeStmt():
                kinds = {_MERGE.get(when.commandType) for when in node.mergeWhenClauses or ()}
                found.actions |= {kind for kind in kinds if kind} or {"sql.select"}
                self._inside(node)
            case ast.CreateTableAsStmt():
                found.actions |= {"sql.create", "sql.select"}
            case ast.ExecuteStmt():
                found.executes = node.name or ""

    def _write(self, node: Any) -> None:
        found = self._found
        self._inside(node)
        if isinstance(self._tree, _STORING):
            return
        found.actions.add(_WRITING[type(node)])
        if isinstance(node, ast.InsertStmt):
            if node.onConflictClause and node.onConflictClause.action == enums.OnConflictAction.ONCONFLICT_UPDATE:
                found.actions.add("sql.update")
        elif not _selective(node.whereClause):
            found.where_missing = True
        if relation(node.relation).name == "pg_settings":  # its rule is set_config()
            found.actions.add("sql.role")

    def _inside(self, node: Any) -> None:
        if node is not self._tree and node is not getattr(self._tree, "query", None):
            self._found.flags.add("data_modifying_cte" if not isinstance(self._tree, _STORING) else CODE)

    def _call(self, node: Any) -> None:
        found, name = self._found, dotted(node.funcname)
        found.functions.add(name)
        if name.rpartition(".")[2] == functions.SET_CONFIG:
            setting = _text(node.args[0]) if node.args else None
            found.actions.add("sql.role" if setting is None else f"sql.{setting_action(setting)}")

    def _targets(self, node: Any) -> tuple[Any, ...]:
        """The nodes below that name what is written, which no CTE hides."""
        found = self._found
        target: Any = None
        match node:
            case ast.SelectStmt():
                return self._into(node.intoClause)
            case ast.CreateTableAsStmt():
                return self._into(node.into)
            case ast.ViewStmt():
                target = node.view
            case ast.CopyStmt():
                target = node.relation if node.is_from else None
            case ast.TruncateStmt() | ast.LockStmt():
                found.writes |= {relation(each) for each in node.relations or ()}
                return (node.relations,)
            case ast.InsertStmt() | ast.UpdateStmt() | ast.DeleteStmt() | ast.MergeStmt() | ast.IndexStmt():
                target = node.relation
            case ast.RuleStmt() | ast.CreateTrigStmt() | ast.AlterTableStmt() | ast.RenameStmt() | ast.CreateStmt():
                target = node.relation
            case ast.RefreshMatViewStmt() | ast.CreateForeignTableStmt():
                target = getattr(node, "relation", None)
        if target is None:
            return ()
        found.writes.add(relation(target))
        return (target,)

    def _into(self, clause: Any) -> tuple[Any, ...]:
        if clause is None:
            return ()
        self._found.writes.add(relation(clause.rel))
        return (clause,)


def relation(node: Any) -> Relation:
    """Of a RangeVar; a database's name before the schema can only be the connection's own."""
    return Relation(node.schemaname or "", node.relname)


def _relation_named(names: Any) -> Relation:
    parts = [part.sval for part in names]
    return Relation(parts[-2] if len(parts) > 1 else "", parts[-1])


def _is_with(node: Any) -> bool:
    return isinstance(node, ast.WithClause)


def _queries(clause: Any, hidden: frozenset[str], all_of_it: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """The queries of a WITH, each with the CTEs it sees: those before it, or with RECURSIVE all."""
    for cte in clause.ctes:
        yield cte.ctequery, (all_of_it if clause.recursive else hidden)
        hidden = hidden | {cte.ctename}


def _selective(where: Any) -> bool:
    """Whether a WHERE looks at a row at all: `WHERE true` and `WHERE 1 = 1` do not."""
    looking = (ast.ColumnRef, ast.SubLink, ast.CurrentOfExpr)
    return where is not None and any(isinstance(node, looking) for node in nodes(where))


def _is_on(options: Any, name: str) -> bool:
    """The last such option counts, as in the server; without a value it is on."""
    on = False
    for option in options or ():
        if option.defname == name:
            on = option.arg is None or _option(option.arg).lower() not in ("false", "off", "0", "no")
    return on


def _option(arg: Any) -> str:
    match arg:
        case ast.String():
            return str(arg.sval)
        case ast.Boolean():
            return "true" if arg.boolval else "false"
        case ast.Integer():
            return str(arg.ival)
    return ""


def _text(node: Any) -> str | None:
    """A string constant, cast or not; None for anything else."""
    while isinstance(node, ast.TypeCast):
        node = node.arg
    if isinstance(node, ast.A_Const) and isinstance(node.val, ast.String):
        return str(node.val.sval)
    return None


def _copy(found: Effects, tree: Any) -> None:
    options = {option.defname: option for option in tree.options or ()}

    def told(name: str, default: str) -> str:
        return _option(options[name].arg) if name in options and options[name].arg is not None else default

    name = told("format", "text").lower()
    quote = told("quote", '"')
    form = CopyFormat(
        name=name,
        delimiter=told("delimiter", "," if name == "csv" else "\t"),
        null=told("null", "" if name == "csv" else "\\N"),
        quote=quote,
        escape=told("escape", quote),
        header="header" in options and told("header", "true").lower() not in ("false", "off", "0"),
        encoding=told("encoding", ""),
    )
    found.copy = Copy(bool(tree.is_from), bool(tree.is_program), "" if tree.is_program else tree.filename or "", form)
    if tree.is_program:
        found.flags.add("program")
    if tree.filename:
        found.flags.add("server_file" if not tree.is_program else "program")
        found.actions.add("sql.call")
    if tree.is_from:
        found.actions.add("sql.insert")
    if tree.query is not None:
        found.actions.add("sql.select")
