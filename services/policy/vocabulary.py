"""What a condition may name: variables, their attributes, functions and macros. The table in docs/policy.md is this.

Counterpart: `facts.py` gives every name here its value; `expression.py` refuses every other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: `map` and `any` are open: what they hold depends on the caller. Everything else has exactly these attributes.
Type = Literal["text", "number", "truth", "moment", "list", "map", "any"]

ATTRIBUTES: Mapping[str, Mapping[str, Type]] = {
    "identity": {
        "subject": "text",
        "email": "text",
        "groups": "list",
        "kind": "text",
        "issuer": "text",
        "owner": "text",
        "claims": "map",
    },
    "connector": {"name": "text", "protocol": "text", "tags": "map"},
    "operation": {
        "statement": "text",
        "resources": "list",
        "method": "text",
        "path": "text",
        "query": "map",
        "attributes": "map",
        "size": "number",
        "complete": "truth",
        "body": "any",
    },
    "session": {"id": "text", "peer": "text"},
}

#: Variables without fixed attributes.
PLAIN: Mapping[str, Type] = {"action": "text", "findings": "map", "now": "moment"}

VARIABLES: tuple[str, ...] = (*ATTRIBUTES, *PLAIN)

#: What is known only when the whole content was seen (`operation.complete`).
CONTENT: frozenset[str] = frozenset({"operation.statement", "operation.body", "findings"})


@dataclass(frozen=True, slots=True)
class Function:
    """How a function is called, and with how many arguments beside the value it is called on."""

    style: Literal["method", "free", "either"]
    arguments: int = 0


_TIME_PARTS = (
    "FullYear",
    "Month",
    "Date",
    "DayOfMonth",
    "DayOfWeek",
    "DayOfYear",
    "Hours",
    "Minutes",
    "Seconds",
    "Milliseconds",
)

FUNCTIONS: Mapping[str, Function] = {
    "has": Function("free"),
    "size": Function("either"),
    **{name: Function("method", 1) for name in ("contains", "startsWith", "endsWith", "matches")},
    **{name: Function("method") for name in ("lowerAscii", "upperAscii")},
    **{name: Function("free") for name in ("int", "uint", "double", "string", "bytes", "timestamp", "duration")},
    # In UTC: the engine knows no time zones.
    **{f"get{part}": Function("method") for part in _TIME_PARTS},
}

#: `list.all(x, condition)` and its kin, with what each costs in powers of the list's length: the engine copies the
#: growing list at every step of `map` and `filter`.
MACROS: Mapping[str, int] = {"all": 1, "exists": 1, "exists_one": 1, "map": 2, "filter": 2}
