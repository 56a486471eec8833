"""The AsyncAPI 3.0 document as plain data, and as YAML.

An operation is one service's part in one channel: `ingress-publishes-OperationAttempted`,
`recorder-hears-OperationAttempted`. https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from typing import Any

import yaml

from schemas import subjects
from schemas.approvals import ApprovalQuery, ApprovalRecord, ApprovalReply, Grant
from schemas.certificates import Certificate
from schemas.policies import PolicyDocument
from tools.asyncapi.channels import EVENTS, PARAMETERS, PUBLISHERS, EventChannel, covers
from tools.asyncapi.contracts import REFERENCE, schemas
from tools.asyncapi.listeners import Listener, listeners

TITLE = "# Generated from the code by `make asyncapi`; a test compares. AsyncAPI 3.0.\n"

#: A NATS user for whoever only listens; a test connects as this one.
TAP = """\
{ user: tap, password: $NATS_TAP_PASSWORD, permissions: {
  publish: [
    "$JS.API.CONSUMER.INFO.AUDIT.tap", "$JS.API.CONSUMER.CREATE.AUDIT.tap", "$JS.API.CONSUMER.CREATE.AUDIT.tap.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.AUDIT.tap", "$JS.API.CONSUMER.MSG.NEXT.AUDIT.tap", "$JS.ACK.AUDIT.tap.>"
  ]
  subscribe: ["cs.>", "_INBOX_tap.>"]
} }
"""

ABOUT = f"""\
What Countersign's services tell each other over NATS. They share nothing else, so whoever reads this can tap the bus
or put a service of their own on it.

**To tap the bus**, give NATS a user who may only listen, beside the services' in nats.conf:

```
{TAP}```

With the inbox prefix `_INBOX_tap` it may subscribe to `cs.>`, which is live, or pull from a durable consumer `tap` of
the stream `AUDIT` (every event but frames), which keeps its place. Give the consumer an `inactive_threshold`, so that
a forgotten one goes by itself: what a durable consumer has still to read is not removed from the stream, and a full
stream stops all traffic. For frames, write `RECORDING` for `AUDIT` everywhere.
Everything is masked before it is published; no credential and no token is ever in an event.

**To add a policy service**, hear `cs.attempt.>` in the queue group `policy` and publish a `VerdictReached` with
`by: policy` on `cs.verdict.{{ingress}}.{{operation_id}}`, as the NATS user `policy`. A queue group gives each attempt
to one member: run yours instead of ours. Outside the group both would answer, and the first verdict counts. Do not
reply to an attempt: its reply subject awaits JetStream's ack. Without a verdict in time the operation is refused.

Events are JSON, UTF-8. Readers ignore fields they do not know: a newer publisher may add some. `ingress_seq` counts
without gaps within one ingress process, so that a lost event is seen. `traceparent` is W3C Trace Context.
"""

#: What else a reader finds in JetStream.
BUCKETS: dict[str, tuple[str, type]] = {
    subjects.APPROVALS_BUCKET: ("An approval's truth, by approval id; each step is a compare-and-set.", ApprovalRecord),
    subjects.GRANTS_BUCKET: ("Time-boxed grants in force, by grant id.", Grant),
    subjects.POLICY_BUCKET: (f"The policy in force, under `{subjects.POLICY_KEY}`.", PolicyDocument),
}

Json = dict[str, Any]


def document(version: str) -> Json:
    """The whole description of the bus."""
    heard = listeners()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Countersign: the bus", "version": version, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {"bus": _server()},
        "channels": {channel.name: _channel(channel) for channel in EVENTS} | _api_channels(),
        "operations": {**_publishing(), **_hearing(heard), **_api_operations(heard)},
        "components": {"messages": _messages(), "schemas": _schemas()},
        "x-buckets": {
            name: {"description": words, "value": {"$ref": REFERENCE.format(model=model.__name__)}}
            for name, (words, model) in BUCKETS.items()
        },
    }


def render(described: Json) -> str:
    """As YAML, the same for the same code."""
    return TITLE + yaml.dump(described, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Long text as blocks, and never an alias for what is said twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _server() -> Json:
    return {
        "host": "nats:4222",
        "protocol": "nats",
        "description": "NATS with JetStream: `nats.servers` in countersign.yaml, `nats` in <data>/endpoints.json. "
        "Each service is a user of its own who may publish and hear only its subjects.",
    }


def _channel(channel: EventChannel) -> Json:
    said = (channel.event.__doc__ or "").strip().split("\n\n")[0]
    publishers = ", ".join(role for role, _ in PUBLISHERS[channel.name])
    return {
        "address": channel.address,
        "description": f"{said} From {publishers}. Kept in the stream {channel.stream}.",
        "servers": [{"$ref": "#/servers/bus"}],
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
        "parameters": {name: {"description": PARAMETERS[name]} for name in channel.parameters},
    }


def _publishing() -> Json:
    return {
        f"{role}-publishes-{channel.name}": _operation("send", channel.name, f"{role.capitalize()}. {certainty}")
        for channel in EVENTS
        for role, certainty in PUBLISHERS[channel.name]
    }


def _hearing(heard: tuple[Listener, ...]) -> Json:
    found: Json = {}
    for channel in EVENTS:
        for one in heard:
            if covers(one.subject, channel.address):
                found[f"{_key(one)}-hears-{channel.name}"] = _operation(
                    "receive", channel.name, f"{one.description} {one.delivery}", _binding(one)
                )
    return found


def _key(one: Listener) -> str:
    """The service, and which of its consumers: `recorder`, `approver-slack-requested`."""
    name = one.durable or one.role
    return name if name.startswith(one.role) else f"{one.role}-{name}"


def _binding(one: Listener) -> Json:
    return {"nats": {"queue": one.queue}} if one.queue else {}


def _operation(action: str, channel: str, description: str, bindings: Json | None = None) -> Json:
    operation: Json = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "description": description,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{channel}"}],
    }
    return operation | ({"bindings": bindings} if bindings else {})


def _api_channels() -> Json:
    """Request and reply with the approver: not an event, in no stream."""
    return {
        "ApproverApi": {
            "address": subjects.APPROVER_API,
            "description": "A reviewer, or a caller that waits, asks the approver. From ingress, on their behalf and "
            "with their own token. In no stream.",
            "servers": [{"$ref": "#/servers/bus"}],
            "messages": {"ApprovalQuery": {"$ref": "#/components/messages/ApprovalQuery"}},
        },
        "ApproverApiReply": {
            "address": None,
            "description": "The reply subject of the query: an inbox of who asked.",
            "messages": {"ApprovalReply": {"$ref": "#/components/messages/ApprovalReply"}},
        },
    }


def _api_operations(heard: tuple[Listener, ...]) -> Json:
    (approver,) = (one for one in heard if covers(one.subject, subjects.APPROVER_API))
    query = {"$ref": "#/channels/ApproverApi/messages/ApprovalQuery"}
    reply = {
        "address": {"location": "$message.header#/reply", "description": "NATS's reply subject."},
        "channel": {"$ref": "#/channels/ApproverApiReply"},
        "messages": [{"$ref": "#/channels/ApproverApiReply/messages/ApprovalReply"}],
    }
    channel = {"$ref": "#/channels/ApproverApi"}
    return {
        "ingress-asks-ApproverApi": {
            "action": "send",
            "channel": channel,
            "description": "For `GET` and `POST /-/approvals`. A query that gets no reply in time is a 503.",
            "messages": [query],
            "reply": reply,
        },
        "approver-answers-ApproverApi": {
            "action": "receive",
            "channel": channel,
            "description": f"{approver.description} {approver.delivery}",
            "messages": [query],
            "bindings": _binding(approver),
            "reply": reply,
        },
    }


def _messages() -> Json:
    messages: Json = {channel.name: _message(channel.event) for channel in EVENTS}
    for channel in EVENTS:
        if channel.name != "OperationAttempted":
            messages[channel.name]["headers"] = _headers({"Nats-Msg-Id": "The `event_id`, where it may be repeated."})
    query, reply = _message(ApprovalQuery), _message(ApprovalReply)
    token = {subjects.REVIEWER_TOKEN_HEADER: "The reviewer's or caller's own token; the approver verifies it again."}
    query["headers"] = _headers(token)
    return messages | {"ApprovalQuery": query, "ApprovalReply": reply}


def _message(model: type) -> Json:
    said = (model.__doc__ or "").strip().split("\n\n")[0]
    reference = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"name": model.__name__, "title": model.__name__, "summary": said, "payload": reference}


def _headers(fields: dict[str, str]) -> Json:
    described = {name: {"type": "string", "description": words} for name, words in fields.items()}
    return {"type": "object", "properties": described}


def _schemas() -> Json:
    others = (ApprovalQuery, ApprovalReply, Certificate, *(model for _, model in BUCKETS.values()))
    return schemas([*(channel.event for channel in EVENTS), *others])
