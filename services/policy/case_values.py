"""One case of `countersign policy test` as values: the attempt it stands for, its grants, and what it expects.

Counterpart: `cases.py` runs it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.approvals import Grant
from schemas.events import OperationAttempted
from schemas.identity import Identity
from schemas.operations import Asked, Connector, Operation
from services.policy.document import Document
from services.policy.grants import Grants
from services.policy.rules import Policy
from services.runtime.settings.yaml_source import Path

#: Keys of `when`, beside those of `operation` itself.
OPERATION = ("identity", "connector", "action", "operation", "findings", "session", "now", "grants", "approval")
#: Keys of `expect`.
EXPECTED = ("decision", "rules", "reason", "mask", "limit", "record", "by")

#: A Tuesday afternoon, unless a case says another moment.
NOW = datetime(2026, 3, 3, 14, 0, tzinfo=UTC)
_ID = "00000000-0000-7000-8000-000000000000"
_ISSUER = "https://issuer.example"

_PARTS: dict[str, type[BaseModel]] = {"identity": Identity, "connector": Connector, "operation": Operation}
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Case:
    """A case ready to be judged."""

    name: str
    #: `file:line`.
    place: str
    attempt: OperationAttempted
    expected: dict[str, Any]
    #: Rules for which the caller holds a time-boxed approval.
    granted: tuple[str, ...] = ()

    def grants(self, policy: Policy) -> Grants:
        """The case's grants, live under this policy."""
        found = Grants()
        for number, rule in enumerate(self.granted):
            found.add(self._grant(rule, number, policy.version))
        return found

    def _grant(self, rule: str, number: int, version: str) -> Grant:
        return Grant(
            grant_id=f"{_ID[:-4]}{number:04x}",
            approval_id=_ID,
            issuer=self.attempt.identity.issuer,
            subject=self.attempt.identity.subject,
            rule=rule,
            connector=self.attempt.connector.name,
            policy_version=version,
            approved_by="approver@example.com",
            expires_at=self.attempt.at + timedelta(hours=1),
            certificate="",
        )


def read_case(document: Document, path: Path, case: dict[str, Any]) -> Case | None:
    """One case; None, with the problems noted in the document, when it is wrong."""
    errors_before = len(document.errors)
    for key in ("name", "expect"):
        if not case.get(key):
            document.wrong(path, f"a case needs `{key}`")
    when = document.mapping((*path, "when"), case.get("when") or {}, OPERATION, "`when`")
    expected = document.mapping((*path, "expect"), case.get("expect") or {}, EXPECTED, "`expect`")
    _check_expected(document, (*path, "expect"), expected)
    attempt = _attempt(document, (*path, "when"), when)
    granted = document.texts((*path, "when", "grants"), when.get("grants", []), "names of rules", lambda _: None)
    if attempt is None or len(document.errors) > errors_before:
        return None
    position = document.source.at(path)
    place = f"{document.source.file}:{position.line}" if position else document.source.file
    return Case(str(case["name"]), place, attempt, expected, granted)


def _check_expected(document: Document, path: Path, expected: dict[str, Any]) -> None:
    if "decision" in expected:
        document.choice((*path, "decision"), expected["decision"], ("allow", "hold", "deny"), None)
    if "reason" in expected and not isinstance(expected["reason"], str):
        document.wrong((*path, "reason"), "write some words that the reason holds")
    for key in ("rules", "by"):
        if key in expected:
            document.texts((*path, key), expected[key], "names", lambda _: None)
    for key in ("mask", "limit"):
        if key in expected and not isinstance(expected[key], dict):
            document.wrong((*path, key), f"write what is expected as in a rule's `{key}`")


def _attempt(document: Document, path: Path, when: dict[str, Any]) -> OperationAttempted | None:
    """The attempt that `when` describes, everything else plain."""
    session = document.mapping((*path, "session"), when.get("session") or {}, ("peer",), "`session`")
    identity = {"subject": "agent", "issuer": _ISSUER} | _part(document, path, when, "identity")
    connector = {"name": "connector", "protocol": "http"} | _part(document, path, when, "connector")
    operation = {"digest": "0" * 64} | _part(document, path, when, "operation")
    operation["action"] = when.get("action", operation.get("action", "http.get"))
    parts = {
        "identity": _model(document, (*path, "identity"), Identity, identity),
        "connector": _model(document, (*path, "connector"), Connector, connector),
        "operation": _model(document, (*path, "operation"), Operation, operation),
        "asked": _model(document, (*path, "approval"), Asked, {"approval_id": when.get("approval")}),
    }
    if None in parts.values():
        return None
    rest = {"at": when.get("now", NOW), "findings": when.get("findings") or {}, "peer": session.get("peer", "")}
    fixed = {"ingress": "case", "session_id": _ID, "operation_id": _ID}
    return _model(document, path, OperationAttempted, {**parts, **rest, **fixed})


def _part(document: Document, path: Path, when: dict[str, Any], key: str) -> dict[str, Any]:
    return document.mapping((*path, key), when.get(key) or {}, tuple(_PARTS[key].model_fields), f"`{key}`")


def _model(document: Document, path: Path, model: type[M], values: dict[str, Any]) -> M | None:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        location = details["loc"]
        document.wrong((*path, *(_yaml_key(part) for part in location)), details["msg"].removeprefix("Value error, "))
        return None


def _yaml_key(part: int | str) -> int | str:
    return "now" if part == "at" else part
