"""What has to be known of a statement before it goes out, and noted when it does."""

from services.ingress.classify.sql.statements import Kind, Statement, parse
from services.ingress.errors import AgentError
from services.ingress.protocols.postgres import encodings
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.state import LEAVING, State

#: Statements of one query string, judged one after the other (G10).
MAX_STATEMENTS = 500
#: No statement of any PostgreSQL: it fails in the parser, and so fails the transaction. The server's log shows it.
POISON = b"refused_by_countersign"

_READING = {"sql.select", "sql.insert", "sql.update", "sql.delete", "sql.show", "sql.explain", "sql.listen"}
#: Statements whose `name` stands for what the session has prepared, declared or saved.
_NAMING = frozenset(
    (
        *(Kind.PREPARE, Kind.EXECUTE, Kind.DEALLOCATE, Kind.DECLARE, Kind.FETCH, Kind.CLOSE),
        *(Kind.SAVEPOINT, Kind.RELEASE, Kind.ROLLBACK_TO),
    )
)
#: Those that make a name.
MAKING = frozenset({Kind.PREPARE, Kind.DECLARE, Kind.SAVEPOINT})
#: Actions that change no setting of the session.
_SETTLED = frozenset(_READING | {"sql.copy", "sql.lock", "sql.notify", "sql.prepare"})
#: Actions that leave the search path as it is.
_PATH_KEPT = frozenset(_SETTLED | {"sql.transaction", "sql.maintain", "sql.create", "sql.truncate", "sql.grant"})
#: Actions that leave tables, views and functions as they are; a function may do anything (`changes`).
_HARMLESS = _SETTLED | {"sql.set", "sql.role", "sql.transaction", "sql.maintain", "sql.call", "sql.fastpath"}


def read(state: State, text: bytes) -> tuple[Statement, ...]:
    """The statements of a text, as the server will read them. Raises AgentError.

    The server tells of changed settings only with ReadyForQuery: until then, a text that `client_encoding` or
    `standard_conforming_strings` could give another meaning is refused.
    """
    settings = state.upstream.parameters
    sql = encodings.decode(text, settings)
    if state.settings_in_doubt and not (sql.isascii() and "\\" not in sql):
        raise AgentError(
            400,
            "not_supported",
            "a statement before it in the same pipeline may have changed how this text is read: Sync first",
        )
    statements = parse(sql, standard_conforming_strings=settings.get("standard_conforming_strings", "on") == "on")
    if len(statements) > MAX_STATEMENTS:
        raise AgentError(400, "too_many", f"more than {MAX_STATEMENTS} statements in one query string")
    if state.names.full and any(statement.kind in MAKING for statement in statements):
        raise too_many_names()
    for statement in statements:
        check_name(state, statement.name if statement.kind in _NAMING else "")
        check_name(state, statement.executes)
    return statements


def too_many_names() -> AgentError:
    """No more are kept."""
    return AgentError(400, "too_many", "this session has too many names for statements, portals and savepoints")


def check_name(state: State, name: str) -> None:
    """Refuse a name that the server may take for another than the gateway. Raises AgentError.

    It cuts names at 63 bytes of its own encoding, and in some turns letters beyond ASCII to lower case
    (`truncate_identifier`, `downcase_identifier` in its scansup.c); here it is done for UTF8.
    """
    if not name.isascii() and state.upstream.parameters.get("server_encoding") != "UTF8":
        raise AgentError(
            400, "not_supported", "names of statements and cursors must be ASCII in a database that is not UTF8"
        )


def foresee(state: State, judged: Judged) -> None:
    """A statement will run before what comes next: what it does to names and settings counts from here on."""
    judged.done = state.names.runs(judged.statement, judged.catalog)
    state.ddl = state.ddl or _redefines(state, judged.statement)
    state.leaving = state.leaving or judged.statement.kind in LEAVING
    state.path_in_doubt = state.path_in_doubt or _moves_path(judged.statement)
    if judged.statement.kind is Kind.SET or not _SETTLED.issuperset(judged.statement.actions):
        state.settings_in_doubt = True


def _moves_path(statement: Statement) -> bool:
    """Whether names without a schema may lead elsewhere behind it; also by what only a new connection heeds."""
    if statement.kind is Kind.SET:
        return statement.name.lower() in ("search_path", "")
    return not _PATH_KEPT.issuperset(statement.actions)


def leave(state: State, judged: Judged) -> None:
    """A statement goes out."""
    judged.story.reached_upstream = True
    state.ddl = state.ddl or _redefines(state, judged.statement)


def _redefines(state: State, statement: Statement) -> bool:
    """Whether names may mean something else behind it."""
    actions = set(statement.actions)
    if statement.action == "sql.transaction" and statement.kind is Kind.QUERY and statement.name:
        return True  # COMMIT PREPARED, whose statements may have come by any session
    return not actions <= _HARMLESS or bool(state.mask.columns and "sql.call" in actions)
