"""A policy's version: the same for the same meaning, whatever comments, formatting or order of keys its file has.

The order of rules counts: a verdict names them in it.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from services.policy.approving import Approve
from services.policy.effects import Allow, Deny, Effect
from services.policy.tokens import tokenize

if TYPE_CHECKING:
    from services.policy.rules import Rule

#: Joins the hash, so that a change of what rules mean changes every version.
FORM = "countersign-policy-1"


def version_of(rules: Iterable["Rule"]) -> str:
    """64 hexadecimal digits: SHA-256 of the canonical form."""
    form = [FORM, *(_rule(rule) for rule in rules)]
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _rule(rule: "Rule") -> dict[str, Any]:
    return {
        "name": rule.name,
        "when": [token.text for token in tokenize(rule.when.source)],
        "effect": _effect(rule.effect),
        "mask": _mask(rule),
        "rows": rule.rows,
        "record": rule.record,
    }


def _effect(effect: Effect | None) -> list[Any]:
    match effect:
        case Allow():
            return ["allow"]
        case Deny(reason):
            return ["deny", reason]
        case Approve():
            return ["approve", effect.canonical()]
        case None:
            return []


def _mask(rule: "Rule") -> dict[str, Any] | None:
    """Lists in a mask are sets: their order says nothing."""
    if rule.mask is None:
        return None
    return {key: sorted(value) if isinstance(value, tuple) else value for key, value in rule.mask}
