"""The shape of a request: what stays when values are taken out of it. Requests of one shape share one message. Pure.

Nothing is lost on the way: a `Template` and its values give back the text, character by character, so that a list of
values under one template shows each operation exactly. Where that cannot be had, `shape_of` gives None, and the request
gets a message of its own.

    POST /v1/refunds                     POST /v1/refunds
    {"charge": "ch_81", "amount": 500}   {"charge": ▢, "amount": ▢}      "ch_81", 500
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.approver.record import Held
from services.approver.slack.text import Excerpt

#: Stands for a value. A text that holds one itself has no template.
HOLE = "▢"
#: Characters of a whole text, as Slack counts them, beyond which a request is not gathered: one section of a message.
MAX_TEXT = 2400
#: Values of one text; with more the list is harder to read than the statements.
MAX_VALUES = 40

#: UUIDs, quoted strings, and words with a digit in them: numbers, dates, ids.
_VALUE = re.compile(
    r"""[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
      | '(?:[^']|'')*'
      | "(?:[^"\\]|\\.)*"
      | (?<![\w-])[\w-]*\d[\w.:-]*""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Template:
    """A text with holes, and what stood in them."""

    text: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Template | None":
        """The template of a text, or None when it has none."""
        if HOLE in text:
            return None
        values = tuple(_VALUE.findall(text))
        return cls(_VALUE.sub(HOLE, text), values) if len(values) <= MAX_VALUES else None

    @property
    def filled(self) -> str:
        """The text that it was made of."""
        return fill(self.text, self.values)


@dataclass(frozen=True)
class Shape:
    """What requests that are gathered have in common, and what is this one's own."""

    #: Equal for requests that may share a message.
    key: str
    template: Template


def fill(text: str, values: Sequence[str | None]) -> str:
    """A template's text with values in its holes; None leaves a hole."""
    parts = text.split(HOLE)
    filled = [HOLE if value is None else value for value in values]
    return "".join(part + value for part, value in zip(parts, [*filled, ""], strict=True))


def varying(templates: Sequence[Template]) -> tuple[str, list[tuple[str, ...]]]:
    """Templates of one shape as one text, with holes where they differ, and for each what stands there."""
    columns = list(zip(*(template.values for template in templates), strict=True))
    same = [column[0] if len(set(column)) == 1 else None for column in columns]
    rows = [
        tuple(value for value, common in zip(template.values, same, strict=True) if common is None)
        for template in templates
    ]
    return fill(templates[0].text, same), rows


def operation_text(record: Held) -> str:
    """What is asked for, as people read it: the request line of HTTP, if there is one, and the statement."""
    operation = record.request.operation
    query = "&".join(f"{name}={value}" for name, value in operation.query.items())
    head = f"{operation.method} {operation.path}{'?' if query else ''}{query}".strip()
    return "\n".join(part for part in (head, operation.statement) if part)


def shape_of(record: Held) -> Shape | None:
    """The shape of a request, or None when it has to stand alone: shown in part only, or too long to be listed."""
    text = operation_text(record)
    if not record.request.operation.complete or not Excerpt.of(text, MAX_TEXT).whole:
        return None
    template = Template.of(text)
    if template is None:
        return None
    return Shape(hashlib.sha256(_common(record, template).encode()).hexdigest()[:32], template)


def _common(record: Held, template: Template) -> str:
    """All that a person is shown beside the values. The identity's other claims may differ with each token."""
    request, operation = record.request, record.request.operation
    identity = request.identity
    resources = operation.resources
    if operation.method:  # paths: their values stand in the request line already
        resources = tuple(_VALUE.sub(HOLE, name) for name in resources)
    return json.dumps(
        [
            [identity.issuer, identity.subject, identity.email, identity.kind, identity.owner, sorted(identity.groups)],
            request.connector.model_dump(),
            request.terms.model_dump(mode="json", exclude={"expires_at"}),
            [request.policy_version, request.obligations.model_dump(mode="json"), request.findings],
            [operation.action, resources, operation.attributes, request.asked.reason],
            template.text,
        ],
        sort_keys=True,
        default=str,
    )
