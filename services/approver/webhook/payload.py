"""What is posted to a webhook, and what its callback may say: JSON of version 1. Pure.

`docs/webhook.schema.json` is generated from here (`python -m services.approver.webhook.payload`). A later version adds
members; it takes none away, and receivers ignore what they do not know. What comes back is read strictly: a misspelt
member of a decision is refused, not skipped.
"""

from datetime import datetime
from json import dumps
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.approvals import ApprovalView
from schemas.base import Contract, Id, Moment
from schemas.verdicts import Obligations
from services.approver.record import Held
from services.approver.views import view

EventType = Literal[
    "approval.requested",
    "approval.resolved",
    "approval.used",
    "approval.reminder",
    "approval.escalated",
    "approval.break_glass",
]


class Question(ApprovalView):
    """One approval: what `GET /-/approvals/ID` shows, and the rest of what people see before they decide."""

    kind: str
    issuer: str
    owner: str = ""
    protocol: str
    tags: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    #: Bytes of the request; when `complete` is false the statement is not all of it.
    size: int = 0
    complete: bool = True
    rules: tuple[str, ...] = ()
    #: Name of what was found in the request (`EMAIL`) to how often.
    findings: dict[str, int] = Field(default_factory=dict)
    obligations: Obligations = Obligations()
    policy_version: str


class Posted(Contract):
    """The body of a POST."""

    type: EventType
    #: When it happened, whenever it was sent.
    timestamp: Moment
    version: Literal[1] = 1
    data: Question


class NamedReviewer(BaseModel):
    """Who decided: by address, where the receiver is trusted to name people, or by their own token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    email: str = Field(default="", max_length=320)
    token: str = Field(default="", max_length=16 * 1024)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.email) == bool(self.token):
            raise ValueError("name the reviewer by email or by token")
        return self


class Callback(BaseModel):
    """The body of a callback: one decision of one person."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["approval.decision"]
    approval_id: Id
    #: The question's own `digest`: the decision is about what was shown, and about nothing else.
    digest: str = Field(max_length=128)
    decision: Literal["approve", "deny", "break_glass"]
    #: With `approve`: also grant this many seconds, within the rule's limit.
    grant_seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    reason: str = Field(default="", max_length=2000)
    reviewer: NamedReviewer


class Answer(Contract):
    """The body of the answer to a callback."""

    approval_id: str = ""
    #: The state after it; empty when nothing was done.
    state: str = ""
    detail: str = ""


def posted(kind: EventType, at: datetime, record: Held) -> bytes:
    """The body that tells of this approval as it stands."""
    request, operation = record.request, record.request.operation
    question = Question(
        **dict(view(record)),
        kind=request.identity.kind,
        issuer=request.identity.issuer,
        owner=request.identity.owner,
        protocol=request.connector.protocol,
        tags=request.connector.tags,
        query=operation.query,
        size=operation.size,
        complete=operation.complete,
        rules=record.rules,
        findings=request.findings,
        obligations=request.obligations,
        policy_version=request.policy_version,
    )
    return Posted(type=kind, timestamp=at, data=question).model_dump_json().encode()


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of both directions."""
    definitions: dict[str, Any] = {}
    for model, mode in ((Posted, "serialization"), (Callback, "validation"), (Answer, "serialization")):
        one = model.model_json_schema(ref_template="#/$defs/{model}", mode=mode)  # type: ignore[arg-type]
        definitions |= one.pop("$defs", {}) | {model.__name__: one}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Countersign's webhooks, version 1",
        "description": "`Posted` goes out; `Callback` may come back, and is answered with `Answer`.",
        "$defs": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    print(dumps(schema(), indent=2))  # noqa: T201 - its output is the file
