"""A statement with its values as an Operation: what policy judges, people read and an approval covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.operations import Operation
from services.ingress.classify.digest import digest
from services.ingress.classify.sql.statements import Statement


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
    fields = [connector, database, statement.sql, *(f"{name}={context[name]}" for name in sorted(context))]
    return Operation(action=statement.action, statement=recorded, digest=digest(key, fields))
