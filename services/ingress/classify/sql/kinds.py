"""What each kind of statement is called: pglast's node to the session's kind and the rules' action.

    sql.select insert update delete copy create alter drop truncate grant call do role set transaction explain show
    unknown                       as the architecture names them (section 6); besides them
    sql.prepare                   PREPARE, which runs nothing yet; what it prepares is judged when it is executed
    sql.listen, sql.notify        LISTEN; NOTIFY and pg_notify()
    sql.lock                      LOCK TABLE, advisory locks
    sql.maintain                  VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH MATERIALIZED VIEW, CHECKPOINT

SET and its kin change the session: RESET, DISCARD, DEALLOCATE, CLOSE and UNLISTEN are `sql.set` too. MERGE is what its
branches do. LOAD runs code and so is `sql.call`. COMMENT and SECURITY LABEL are `sql.alter`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pglast import ast, enums

from services.ingress.classify.sql.model import UNKNOWN, Kind

#: Strongest first: what a statement is called that does several of them.
STRENGTH = (
    UNKNOWN,
    *("sql.role", "sql.do", "sql.call", "sql.drop", "sql.truncate", "sql.delete", "sql.update", "sql.grant"),
    *("sql.alter", "sql.create", "sql.copy", "sql.insert", "sql.lock", "sql.maintain", "sql.notify", "sql.set"),
    *("sql.listen", "sql.prepare", "sql.transaction", "sql.explain", "sql.show", "sql.select"),
)

_SIMPLE: dict[type, tuple[Kind, str]] = {
    ast.SelectStmt: (Kind.QUERY, "select"),
    ast.InsertStmt: (Kind.QUERY, "insert"),
    ast.UpdateStmt: (Kind.QUERY, "update"),
    ast.DeleteStmt: (Kind.QUERY, "delete"),
    ast.MergeStmt: (Kind.QUERY, "select"),
    ast.TruncateStmt: (Kind.QUERY, "truncate"),
    ast.CallStmt: (Kind.QUERY, "call"),
    ast.LoadStmt: (Kind.QUERY, "call"),
    ast.DoStmt: (Kind.QUERY, "do"),
    ast.LockStmt: (Kind.QUERY, "lock"),
    ast.GrantStmt: (Kind.QUERY, "grant"),
    ast.GrantRoleStmt: (Kind.QUERY, "grant"),
    ast.AlterDefaultPrivilegesStmt: (Kind.QUERY, "grant"),
    ast.VariableShowStmt: (Kind.SHOW, "show"),
    ast.VariableSetStmt: (Kind.SET, "set"),
    ast.ConstraintsSetStmt: (Kind.QUERY, "transaction"),
    ast.DiscardStmt: (Kind.DISCARD, "set"),
    ast.DeallocateStmt: (Kind.DEALLOCATE, "set"),
    ast.ClosePortalStmt: (Kind.CLOSE, "set"),
    ast.ListenStmt: (Kind.LISTEN, "listen"),
    ast.UnlistenStmt: (Kind.UNLISTEN, "set"),
    ast.NotifyStmt: (Kind.NOTIFY, "notify"),
    ast.PrepareStmt: (Kind.PREPARE, "prepare"),
    ast.ExecuteStmt: (Kind.EXECUTE, "unknown"),
    ast.FetchStmt: (Kind.FETCH, "unknown"),
    ast.DeclareCursorStmt: (Kind.DECLARE, "select"),
    ast.ExplainStmt: (Kind.QUERY, "explain"),
    ast.CopyStmt: (Kind.QUERY, "copy"),
    ast.VacuumStmt: (Kind.QUERY, "maintain"),
    ast.ClusterStmt: (Kind.QUERY, "maintain"),
    ast.ReindexStmt: (Kind.QUERY, "maintain"),
    ast.RefreshMatViewStmt: (Kind.QUERY, "maintain"),
    ast.CheckPointStmt: (Kind.QUERY, "maintain"),
    ast.DropOwnedStmt: (Kind.QUERY, "drop"),
    ast.DropdbStmt: (Kind.QUERY, "drop"),
    ast.CreatedbStmt: (Kind.QUERY, "create"),
    ast.ViewStmt: (Kind.QUERY, "create"),
    ast.IndexStmt: (Kind.QUERY, "create"),
    ast.RuleStmt: (Kind.QUERY, "create"),
    ast.DefineStmt: (Kind.QUERY, "create"),
    ast.CompositeTypeStmt: (Kind.QUERY, "create"),
    ast.ImportForeignSchemaStmt: (Kind.QUERY, "create"),
    ast.RenameStmt: (Kind.QUERY, "alter"),
    ast.ReassignOwnedStmt: (Kind.QUERY, "alter"),
    ast.CommentStmt: (Kind.QUERY, "alter"),
    ast.SecLabelStmt: (Kind.QUERY, "alter"),
}

_TRANSACTION: dict[Any, Kind] = {
    enums.TransactionStmtKind.TRANS_STMT_BEGIN: Kind.BEGIN,
    enums.TransactionStmtKind.TRANS_STMT_START: Kind.BEGIN,
    enums.TransactionStmtKind.TRANS_STMT_COMMIT: Kind.COMMIT,
    enums.TransactionStmtKind.TRANS_STMT_ROLLBACK: Kind.ROLLBACK,
    enums.TransactionStmtKind.TRANS_STMT_SAVEPOINT: Kind.SAVEPOINT,
    enums.TransactionStmtKind.TRANS_STMT_RELEASE: Kind.RELEASE,
    enums.TransactionStmtKind.TRANS_STMT_ROLLBACK_TO: Kind.ROLLBACK_TO,
    enums.TransactionStmtKind.TRANS_STMT_PREPARE: Kind.PREPARE_TRANSACTION,
}

#: Settings that say who one is; their names are compared without case, as the server does.
_IDENTITY = frozenset({"role", "session_authorization"})


def kind_and_action(tree: Any) -> tuple[Kind, str]:
    """Of a statement by itself, without what is inside it."""
    if isinstance(tree, ast.TransactionStmt):
        return _TRANSACTION.get(tree.kind, Kind.QUERY), "sql.transaction"
    if isinstance(tree, ast.VariableSetStmt):
        return Kind.SET, f"sql.{_setting(tree)}"
    if isinstance(tree, ast.CopyStmt) and not (tree.is_program or tree.filename):
        return (Kind.COPY_IN if tree.is_from else Kind.COPY_OUT), "sql.copy"
    found = _SIMPLE.get(type(tree))
    if found:
        return found[0], f"sql.{found[1]}"
    name = type(tree).__name__
    for verb in ("Create", "Alter", "Drop"):
        if name.startswith(verb):
            return Kind.QUERY, f"sql.{verb.lower()}"
    return Kind.UNKNOWN, UNKNOWN


def setting_action(name: str) -> str:
    """Of changing a setting."""
    return "role" if name.lower() in _IDENTITY else "set"


def _setting(tree: Any) -> str:
    if tree.kind == enums.VariableSetKind.VAR_SET_MULTI:
        return "transaction"
    return setting_action(tree.name or "")


def strongest_first(actions: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of `STRENGTH`."""
    return tuple(sorted(set(actions), key=STRENGTH.index))
