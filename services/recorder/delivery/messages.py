"""An operation as the bytes of one message, at most so many of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from services.recorder.ocsf import event

Format = Literal["ocsf", "operations"]
Row = Mapping[str, Any]

#: What holds content, and goes when a message would be too large.
_CONTENT: Final = {"statement": "", "resources": [], "reason": "", "masked": {}, "findings": {}, "groups": []}


@dataclass(frozen=True)
class Message:
    """One operation for a receiver: its id, how it ended, when it began (milliseconds since 1970), and the JSON."""

    operation_id: str
    outcome: str
    started_ms: int
    body: bytes


def message(row: Row, format_: Format, largest: int) -> Message:
    """The row as JSON; without its content, and saying so, where it would be larger than `largest` bytes."""
    body = _body(row, format_)
    if len(body) > largest:
        body = _body({**row, **_CONTENT, "cut": True}, format_)
    return Message(row["operation_id"], row["outcome"], int(row["started_ms"]), body)


def _body(row: Row, format_: Format) -> bytes:
    if format_ == "operations":
        return orjson.dumps(row)
    made = event(row)
    if row.get("cut"):
        made["metadata"]["is_truncated"] = True
    return orjson.dumps(made)
