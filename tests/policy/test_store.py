"""What the store holds follows the buckets, even when NATS forgets the watch, and is not trusted for ever."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from schemas import subjects
from schemas.approvals import Grant
from schemas.base import new_id, utc_now
from services.policy import watch
from services.policy.apply import apply
from services.policy.metrics import Metrics
from services.policy.store import Store
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus, until

ASK = "rules:\n  - {name: ask, when: true, approve: {by: [dba]}}\n"


@pytest.fixture
async def store(bus: Bus) -> AsyncIterator[Store]:
    """A store on a real bus that has a policy."""
    await apply(await bus.connect("admin"), ASK, "test")
    tasks = TaskGroup("test")
    made = Store(await bus.connect("policy"), Metrics(CollectorRegistry()))
    await made.start(tasks)
    yield made
    await tasks.cancel()


def grant() -> Grant:
    return Grant(
        grant_id=new_id(),
        approval_id=new_id(),
        issuer="i",
        subject="s",
        rule="ask",
        connector="c",
        policy_version="v",
        approved_by="boss",
        expires_at=utc_now() + timedelta(hours=1),
        certificate="",
    )


async def test_a_watch_that_nats_forgot_is_noticed_and_opened_again(bus: Bus, store: Store) -> None:
    admin = await bus.connect("admin")
    jetstream = admin.jetstream()
    for consumer in await jetstream.consumers_info(f"KV_{subjects.GRANTS_BUCKET}"):
        await jetstream.delete_consumer(f"KV_{subjects.GRANTS_BUCKET}", consumer.name)
    missed = grant()
    await (await jetstream.key_value(subjects.GRANTS_BUCKET)).put(missed.grant_id, missed.model_dump_json().encode())
    await until(lambda: len(store.grants) == 1)


async def test_many_grants_are_read_and_malformed_ones_left_out(bus: Bus, store: Store) -> None:
    bucket = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    for _ in range(300):
        made = grant()
        await bucket.put(made.grant_id, made.model_dump_json().encode())
    await bucket.put("junk", b"{}")
    await bucket.put("other", grant().model_dump_json().encode())
    await until(lambda: len(store.grants) == 300)
    await store.reread()
    tasks = TaskGroup("second")
    second = Store(await bus.connect("policy"), Metrics(CollectorRegistry()))
    await second.start(tasks)
    assert len(second.grants) == 300
    await tasks.cancel()


async def test_what_cannot_be_confirmed_is_not_relied_on(
    bus: Bus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    made = grant()
    await bucket.put(made.grant_id, made.model_dump_json().encode())
    await until(lambda: len(store.grants) == 1)
    assert store.policy
    assert store.watch_check() is True
    monkeypatch.setattr(watch, "TRUST", 0.0)
    assert store.policy is None
    assert len(store.grants) == 0
    assert store.watch_check() == "not followed: policy, grants"


async def test_expired_grants_are_forgotten(bus: Bus, store: Store) -> None:
    bucket = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    made = grant()
    await bucket.put(made.grant_id, made.model_dump_json().encode())
    await until(lambda: len(store.grants) == 1)
    store.expire(made.expires_at)
    assert len(store.grants) == 0
