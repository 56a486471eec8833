"""What has to be known of a statement before it goes out, and noted when it does."""

from services.ingress.classify.sql.statements import Kind, Statement, parse
from services.ingress.errors import AgentError
from services.ingress.protocols.postgres import encodings
from services.ingress.protocols.postgres.judged import Judged
from services.ingress.protocols.postgres.state import State

#: Statements of one query string, judged one after the other (G10).
MAX_STATEMENTS = 500
#: No statement of any PostgreSQL: it fails in the parser, and so fails the transaction. The server's log shows it.
POISON = b"refused_by_countersign"

_READING = {"sql.select", "sql.insert", "sql.update", "sql.delete", "sql.show", "sql.explain", "sql.listen"}
#: Actions that change no setting of the session.
_SETTLED = frozenset(_READING | {"sql.copy", "sql.lock", "sql.notify", "sql.prepare"})
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
    return statements


def foresee(state: State, judged: Judged) -> None:
    """A statement will run before what comes next: what it does to names and settings counts from here on."""
    judged.done = state.names.runs(judged.statement)
    if judged.statement.kind is Kind.SET or not _SETTLED.issuperset(judged.statement.actions):
        state.settings_in_doubt = True


def leave(state: State, judged: Judged) -> None:
    """A statement goes out."""
    judged.story.reached_upstream = True
    actions = set(judged.statement.actions)
    if not actions <= _HARMLESS or (state.mask.columns and "sql.call" in actions):
        state.ddl = True
