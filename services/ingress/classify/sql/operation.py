"""A statement with its values as an Operation: what policy judges, people read and an approval covers.

docs/sql.md is the table of the attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.base import Json
from schemas.operations import Operation
from services.ingress.classify.digest import digest
from services.ingress.classify.sql.model import UNKNOWN, Statement

#: Names in one list. A longer one is left out, so that a rule which asks for it fails and denies; and a statement with
#: so many tables or functions is `sql.unknown`.
MAX_NAMES = 500


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind value as it came: `raw` is None for NULL, `binary` its format, `type` an OID or 0 when not known."""

    raw: bytes | None
    binary: bool = False
    type: int = 0


def operation(
    statement: Statement,
    binds: Sequence[Bind],
    *,
    connector: str,
    database: str,
    recorded: str,
    context: Mapping[str, str],
    size: int,
    key: bytes,
    complete: bool = True,
) -> Operation:
    """Build it of a resolved statement.

    `recorded` is its text and values masked (`inspection.Inspector.statement`); `context` are the session's facts that
    change what it means (`search_path`, `role`, …): they are part of the digest; `size` is in bytes as sent.
    """
    tables = sorted({str(relation) for relation in (*statement.reads, *statement.writes)})
    lists: dict[str, Sequence[str]] = {
        "actions": statement.actions,
        "tables": tables,
        "reads": [str(relation) for relation in statement.reads],
        "writes": [str(relation) for relation in statement.writes],
        "columns_read": statement.columns_read,
        "columns_written": statement.columns_written,
        "columns_filtered": statement.columns_filtered,
        "functions": statement.functions,
        "flags": sorted(statement.flags),
    }
    overfull = {name for name, names in lists.items() if len(names) > MAX_NAMES}
    known = not overfull & {"tables", "functions"}
    attributes: Json = {name: list(names) for name, names in lists.items() if name not in overfull}
    attributes |= {"where_missing": statement.where_missing, "parameters": len(binds), "database": database}
    if statement.copy:
        attributes["copy"] = _copy(statement)
    if statement.problem or not known:
        attributes["problem"] = statement.problem or f"more than {MAX_NAMES} tables or functions"
    return Operation(
        action=statement.action if known else UNKNOWN,
        resources=tuple(f"{database}.{table}" for table in tables) if known else (),
        statement=recorded,
        attributes=attributes,
        size=size,
        complete=complete and not overfull,
        digest=digest(key, _canonical(statement, binds, connector, database, context)),
    )


def _copy(statement: Statement) -> Json:
    copy = statement.copy
    assert copy
    return {"into": copy.into, "program": copy.program, "file": copy.file, "format": copy.form.name}


def _canonical(
    statement: Statement, binds: Sequence[Bind], connector: str, database: str, context: Mapping[str, str]
) -> Iterable[str | bytes]:
    """What an approval covers: nothing that changes what the statement does is left out."""
    yield from ("sql", connector, database, statement.sql)
    yield statement.inner.sql if statement.inner else ""
    yield str(len(binds))
    for bind in binds:
        yield from (str(bind.type), "binary" if bind.binary else "text", "NULL" if bind.raw is None else "value")
        yield bind.raw or b""
    for name in sorted(context):
        yield from (name, context[name])
