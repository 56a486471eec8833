"""The bus enforces who may say what, whatever the code of a service does."""

import pytest
from nats.js.errors import KeyWrongLastSequenceError

from schemas import subjects
from services.runtime.nats.permissions import Role
from tests.conftest import Bus, until

FORGERIES: list[tuple[Role, str]] = [
    ("ingress", "cs.verdict.i.o"),
    ("ingress", "cs.approval.resolved.a"),
    ("ingress", "cs.approval.requested.a"),
    ("ingress", "$KV.grants.g"),
    ("ingress", "$KV.policy.current"),
    ("policy", "cs.attempt.http.x"),
    ("policy", "cs.outcome.http.x"),
    ("policy", "cs.approval.resolved.a"),
    ("policy", "$KV.approvals.a"),
    ("policy", "$KV.policy.current"),
    ("approver", "cs.attempt.http.x"),
    ("approver", "cs.outcome.http.x"),
    ("approver", "$KV.policy.current"),
    ("recorder", "cs.verdict.i.o"),
    ("recorder", "cs.attempt.http.x"),
    ("recorder", "$KV.approvals.a"),
    ("policy", "$JS.API.STREAM.PURGE.AUDIT"),
    ("ingress", "$JS.API.STREAM.DELETE.AUDIT"),
    ("recorder", "_INBOX_ingress.forged-ack"),
]


@pytest.mark.parametrize(("role", "subject"), FORGERIES)
async def test_a_role_cannot_publish_what_is_not_its_own(bus: Bus, role: Role, subject: str) -> None:
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    heard: list[str] = []
    admin = await bus.connect("admin")

    async def hear(message) -> None:
        heard.append(message.subject)

    await admin.subscribe(subject, cb=hear)
    await admin.flush()
    client = await bus.connect(role, error=note)
    await client.publish(subject, b"forged")
    await client.flush()
    await until(lambda: errors)
    assert "permissions violation" in errors[0]
    assert heard == []


async def test_approvals_move_by_compare_and_set(bus: Bus) -> None:
    bucket = await (await bus.connect("ingress")).jetstream().key_value(subjects.APPROVALS_BUCKET)
    first = await bucket.create("a", b"requested")
    await bucket.update("a", b"approved", first)
    with pytest.raises(KeyWrongLastSequenceError):
        await bucket.update("a", b"spent twice", first)


async def test_the_audit_stream_acks_attempts_and_refuses_when_full(bus: Bus) -> None:
    jetstream = (await bus.connect("ingress")).jetstream()
    assert (await jetstream.publish("cs.attempt.http.x", b"{}")).stream == subjects.AUDIT_STREAM
