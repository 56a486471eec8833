"""An attempt as CEL variables: exactly what `vocabulary.py` names, and of that only what some rule reads.

Giving the engine its variables costs more than all rules together, so that nothing unread is handed over. What is
not known (content past the inspection window, a body that should be JSON and is not) is left out: a rule whose result
depends on it fails, and so denies.
"""

from collections.abc import Callable, Mapping
from typing import Any

import cel
import orjson

from schemas.events import OperationAttempted
from services.policy.functions import IMPLEMENTATIONS
from services.policy.rules import Policy
from services.policy.vocabulary import ATTRIBUTES, CONTENT

#: Steps that one condition with nested macros may take (about 0.2 s): beyond it, the rule fails and so denies.
MAX_STEPS = 1_000_000


class _Unknown(Exception):
    """This fact cannot be had for this attempt."""


def _body(attempt: OperationAttempted) -> Any:
    """The statement as JSON; an empty map for content of another kind, or none."""
    operation = attempt.operation
    media_type = str(operation.attributes.get("media_type", "")).partition(";")[0].strip().lower()
    if not operation.statement or not (media_type == "application/json" or media_type.endswith("+json")):
        return {}
    try:
        return orjson.loads(operation.statement)
    except ValueError:
        raise _Unknown from None


def _attribute(variable: str, name: str) -> Callable[[OperationAttempted], Any]:
    def read(attempt: OperationAttempted) -> Any:
        return getattr(getattr(attempt, variable), name)

    return read


_READERS: Mapping[str, Callable[[OperationAttempted], Any]] = {
    **{
        f"{variable}.{name}": _attribute(variable, name)
        for variable in ("identity", "connector", "operation")
        for name in ATTRIBUTES[variable]
        if name != "body"
    },
    "operation.body": _body,
    "session.id": lambda attempt: attempt.session_id,
    "session.peer": lambda attempt: attempt.peer,
    "action": lambda attempt: attempt.operation.action,
    "findings": lambda attempt: attempt.findings,
    "now": lambda attempt: attempt.at,
}


def variables(attempt: OperationAttempted, uses: frozenset[str]) -> dict[str, Any]:
    """The variables that `uses` names, as plain data."""
    found: dict[str, Any] = {}
    for use in uses:
        variable, _, attribute = use.partition(".")
        inside = found.setdefault(variable, {}) if attribute else found
        if use in CONTENT and not attempt.operation.complete:
            continue
        try:
            inside[attribute or variable] = _READERS[use](attempt)
        except _Unknown:
            continue
    return found


def context(policy: Policy, facts: Mapping[str, Any]) -> cel.Context:
    """What every rule of the policy is evaluated in. Raises ValueError or OverflowError for facts CEL cannot hold."""
    made = cel.Context(dict(facts))
    for name in policy.functions:
        made.add_function(name, IMPLEMENTATIONS[name])
    return made


def longest(facts: Any) -> int:
    """Members of the longest list or map anywhere in the facts: what a macro may have to walk."""
    most, waiting = 0, [facts]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            most = max(most, len(value))
            waiting.extend(each for each in value if isinstance(each, dict | list | tuple))
    return most
