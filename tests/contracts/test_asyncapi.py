"""docs/asyncapi.yaml says what the code does: regenerated and compared, and held against the bus's permissions."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from services.runtime.nats.permissions import of
from tools.asyncapi.__main__ import DEFAULT, current
from tools.asyncapi.channels import EVENTS, PUBLISHERS, EventChannel, covers
from tools.asyncapi.listeners import brokers, listeners

DOCUMENT: dict[str, Any] = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))


def test_the_page_is_what_the_code_generates() -> None:
    assert DEFAULT.read_text(encoding="utf-8") == current(), "run `make asyncapi` and commit docs/asyncapi.yaml"


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_every_channel_operation_and_message_is_described() -> None:
    for kind in ("channels", "operations"):
        for name, item in DOCUMENT[kind].items():
            assert len(item["description"]) > 20, f"{kind}.{name}"
    for name, message in DOCUMENT["components"]["messages"].items():
        schema = DOCUMENT["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
        assert schema["description"], name
        assert message["summary"], name


def test_a_comment_above_a_field_describes_it() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    attempted = schemas["OperationAttempted"]["properties"]
    assert attempted["findings"]["description"] == "Entity name to count, in the request."
    assert attempted["ingress_seq"]["description"].startswith("Gapless per ingress process")  # told by its base


@pytest.mark.parametrize("channel", EVENTS, ids=lambda channel: channel.name)
def test_whoever_publishes_an_event_may_and_nobody_else(channel: EventChannel) -> None:
    """The approver's right to say `withdrawn` is not used by its code: the one difference."""
    subject = channel.address
    allowed = {role for role in ("ingress", "policy", "approver", "recorder") if _may_publish(role, subject)}
    unused = {"approver"} if channel.name == "ApprovalWithdrawn" else set()
    # `admin` is the command line, which may say anything.
    assert {role for role, _ in PUBLISHERS[channel.name]} - {"admin"} == allowed - unused


def test_every_event_is_heard_by_the_recorder_and_kept() -> None:
    for channel in EVENTS:
        stored = [one for one in listeners() if one.role == "recorder" and covers(one.subject, channel.address)]
        assert len(stored) == 1, channel.name


def test_what_a_subscriber_decodes_is_what_its_channel_carries() -> None:
    """FastStream's own schema of each handler; the recorder's batches take every class as it comes."""
    for role in ("policy", "approver"):
        for subscriber in brokers()[role].subscribers:
            ((_, spec),) = subscriber.schema().items()
            payload = spec.operation.message.payload
            carried = [channel.name for channel in EVENTS if covers(spec.address, channel.address)]
            assert [payload["title"]] == (carried or ["ApprovalQuery"])


def _may_publish(role: Any, subject: str) -> bool:
    return any(covers(pattern, subject) for pattern in of(role).publish)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
