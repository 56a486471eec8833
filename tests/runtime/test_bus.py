"""The bus enforces who may say what, whatever the code of a service does."""

import pytest
from nats.js.errors import KeyWrongLastSequenceError

from schemas import subjects
from services.runtime.nats.permissions import Role
from services.runtime.nats.provision import provision
from services.runtime.settings import SettingsError
from services.runtime.settings.model import NatsSettings
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


async def test_streams_take_a_third_of_the_free_disk_each_unless_told_otherwise(bus: Bus) -> None:
    admin = await bus.connect("admin")
    jetstream = admin.jetstream()

    async def size() -> int | None:
        return (await jetstream.stream_info(subjects.AUDIT_STREAM)).config.max_bytes

    for name in (subjects.AUDIT_STREAM, subjects.RECORDING_STREAM):
        await jetstream.delete_stream(name)
    await provision(admin, NatsSettings(), free=300_000_000)
    assert await size() == 100_000_000
    await provision(admin, NatsSettings(), free=30_000_000)  # they stay as they were made, however full the disk is
    assert await size() == 100_000_000
    await provision(admin, NatsSettings(max_bytes=50_000_000), free=300_000_000)
    assert await size() == 50_000_000
    with pytest.raises(SettingsError, match=r"nats\.max_bytes: .* 931322\.6 GiB each do not fit"):
        await provision(admin, NatsSettings(max_bytes=10**15), free=300_000_000)
