"""An approver on a real NATS: in the test's process, or as the process that `countersign up` would start."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from examples.slack_standin import Limits
from schemas import subjects
from schemas.approvals import ApprovalQuery, ApprovalRecord, ApprovalReply
from schemas.events import ApprovalRequested, ApprovalResolved, VerdictReached
from services.approver.__main__ import Approver, start
from services.ingress.liveness import announce
from services.runtime import keys
from services.runtime.admin import Health
from services.runtime.data_dir import DataDir
from services.runtime.identity.local import LocalIssuer
from services.runtime.service import Context
from services.runtime.settings import Settings
from services.runtime.tasks import TaskGroup
from tests.approver.builders import INGRESS
from tests.conftest import Bus, until

PEOPLE = [
    {"email": "alice@example.com", "subject": "alice", "issuer": "countersign-local", "groups": ["dba"]},
    {"email": "bob@example.com", "subject": "bob", "issuer": "countersign-local", "groups": ["dba", "security"]},
]

#: Slack's limits, but for its three seconds for an ack: a click shares its core with everything else.
PATIENT = Limits(ack_seconds=60, trigger_seconds=60)


@pytest.fixture(autouse=True)
def no_hurry_with_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our share of those three seconds."""
    monkeypatch.setattr("services.approver.slack.interactions.WORK", 50)


def settings(**approvals: Any) -> Settings:
    """countersign.yaml for an approver."""
    return Settings.model_validate(
        {
            "connectors": {},
            "listen": {"approver": "127.0.0.1:0"},
            "identity": {"people": PEOPLE, "local": True},
            "approvals": approvals,
        }
    )


@dataclass
class World:
    """The bus, the approvers on it, and the neighbours that talk to them."""

    bus: Bus
    data: DataDir
    policy: Client
    ingress: Client
    issuer: LocalIssuer
    stack: AsyncExitStack
    verdicts: list[VerdictReached] = field(default_factory=list)

    async def approver(self, config: Settings | None = None) -> Approver:
        """Start one more copy."""
        failed: list[BaseException] = []
        context = Context(
            name="approver",
            settings=config or settings(),
            data=self.data,
            health=Health("approver"),
            registry=CollectorRegistry(),
            tracer_provider=None,
            tasks=TaskGroup("approver", on_error=failed.append),
            stopping=asyncio.Event(),
        )
        running = await start(context)

        async def stop() -> None:
            await running.stop()
            assert failed == []

        self.stack.push_async_callback(stop)
        await until(lambda: "approvals" not in context.health.failures())
        return running

    async def ask(self, request: ApprovalRequested) -> ApprovalRequested:
        """Publish a question as policy does."""
        await self.policy.jetstream().publish(subjects.of(request), request.model_dump_json().encode())
        return request

    async def record(self, approval_id: str) -> ApprovalRecord | None:
        """The entry in the bucket."""
        from nats.js.errors import KeyNotFoundError

        bucket = await self.ingress.jetstream().key_value(subjects.APPROVALS_BUCKET)
        try:
            return ApprovalRecord.model_validate_json((await bucket.get(approval_id)).value or b"")
        except KeyNotFoundError:
            return None

    async def until_state(self, approval_id: str, state: str, timeout: float = 60) -> ApprovalRecord:
        """Wait for the entry to be in `state`."""

        async def look() -> ApprovalRecord | None:
            record = await self.record(approval_id)
            return record if record and record.state == state else None

        return await until(look, timeout)

    async def query(self, token: str, **query: Any) -> ApprovalReply:
        """Ask the approver's API as ingress does, for the bearer of `token`."""
        answer = await self.ingress.request(
            subjects.APPROVER_API,
            ApprovalQuery(**query).model_dump_json().encode(),
            timeout=30,
            headers={subjects.REVIEWER_TOKEN_HEADER: token},
        )
        return ApprovalReply.model_validate_json(answer.data)

    def token(self, subject: str, *groups: str, **more: Any) -> str:
        """A token of the local issuer."""
        return self.issuer.mint(subject, groups, **({"kind": "human", "email": f"{subject}@example.com"} | more))

    async def resolutions(self) -> list[ApprovalResolved]:
        """All ApprovalResolved events in the AUDIT stream."""
        admin = await self.bus.connect("admin")
        found = await events(admin, subjects.APPROVALS_RESOLVED)
        return [ApprovalResolved.model_validate(event) for event in found]


async def events(admin: Client, subject: str) -> list[Any]:
    """What the AUDIT stream holds on a subject."""
    jetstream = admin.jetstream()
    subscription = await jetstream.subscribe(subject, ordered_consumer=True)
    info = await subscription.consumer_info()
    stored = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
    found = [json.loads((await subscription.next_msg(timeout=30)).data) for _ in range(stored)]
    await subscription.unsubscribe()
    return found


@pytest.fixture
async def world(bus: Bus, data: DataDir) -> AsyncIterator[World]:
    """NATS with neighbours; no approver yet."""
    keys.create_approver_keys(data)
    data.endpoints.write_text(json.dumps({"nats": bus.server.url}))
    async with AsyncExitStack() as stack:
        ingress = await bus.connect("ingress")
        world = World(bus, data, await bus.connect("policy"), ingress, LocalIssuer.load_or_create(data.keys), stack)

        async def hear(message: Any) -> None:
            world.verdicts.append(VerdictReached.model_validate_json(message.data))

        await ingress.subscribe(subjects.VERDICTS, cb=hear)
        await ingress.flush()
        # Callers wait at an ingress that lives, or what they asked is withdrawn after a few seconds.
        lives = TaskGroup("ingress")
        stack.push_async_callback(lives.cancel)
        lives.start(announce(await ingress.jetstream().key_value(subjects.INGRESSES_BUCKET), INGRESS), "sign of life")
        yield world
