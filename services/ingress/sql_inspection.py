"""An SQL statement and its values as they may be recorded: whatever way they are written or sent.

Counterpart: `inspection.Inspector.statement`, which brings the detectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from services.ingress.classify.sql.literals import Unreadable, rewritten, unescaped
from services.ingress.classify.sql.operation import Bind
from services.ingress.classify.sql.parameters import parameter_names
from services.ingress.masking.rows.types import Family, family, spelt

#: Characters of one value that are recorded; the digest covers all of it.
MAX_VALUE = 2_000


class Looked(Protocol):
    """Masked text and what was found in it."""

    @property
    def recorded(self) -> str: ...

    @property
    def findings(self) -> Counter[str]: ...


def recorded_statement(sql: str, binds: Sequence[Bind], look: Callable[[str], Looked]) -> tuple[str, Counter[str]]:
    """The statement and below it a line for each value, masked; and what was found, by entity."""
    findings: Counter[str] = Counter()

    def noted(text: str) -> str:
        looked = look(text)
        if "\\" in text:  # a constant in a constant, as EXECUTE is given them
            for reading in map(look, unescaped(text)):
                looked = reading if reading.findings - looked.findings else looked
        findings.update(looked.findings)
        return looked.recorded

    try:
        lines = [noted(rewritten(sql, noted))]
    except Unreadable:
        lines = [noted(sql)]
    names = parameter_names(sql) if binds else {}
    for number, bind in enumerate(binds, start=1):
        lines.append(f"-- ${number} = {_shown(bind, names.get(number, ''), noted)}")
    return "\n".join(lines), findings


def _shown(bind: Bind, name: str, noted: Callable[[str], str]) -> str:
    """A value on one line; `name` is the column it is for, which may be what tells that it is a secret."""
    text = readable(bind)
    if text is None:
        return "NULL" if bind.raw is None else f"({len(bind.raw)} bytes)"
    masked = noted(text)
    if name and masked == text:
        masked = noted(f"{name}={text}").partition("=")[2]
    if len(masked) > MAX_VALUE:
        masked = f"{masked[:MAX_VALUE]}… ({len(text)} characters)"
    escaped = masked.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped.replace("'", "''") + "'"


def readable(bind: Bind) -> str | None:
    """A value as text; None for NULL and for binary values that cannot be told from their type."""
    if bind.raw is None:
        return None
    if bind.binary:
        found = spelt(bind.raw, bind.type)
        kind = family(bind.type)
        if found is not None or not bind.type or kind in (Family.OTHER, Family.BYTEA):
            return found
        raw = bind.raw[1:] if kind is Family.JSONB else bind.raw
        return raw.decode("utf-8", "replace")
    if family(bind.type) is Family.BYTEA and bind.type:
        return None
    return bind.raw.decode("utf-8", "replace")
