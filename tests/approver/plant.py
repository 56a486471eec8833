"""Three approver copies and two ingresses on one real NATS, with one clock for all, for tests that break them.

What clicks is `desk.Desk.decide`, where every channel ends; what spends is `services.ingress.countersigned`. A crash
drops a copy in the middle of whatever it does: its tasks, its connections, and what it had not yet announced.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry

from schemas import subjects
from schemas.approvals import Grant
from schemas.base import new_id, utc_now
from schemas.events import ApprovalRequested, ApprovalResolved, Event, OperationAttempted
from schemas.policies import PolicyDocument
from schemas.verdicts import Decision, Verdict
from services.approver.__main__ import Approver, start
from services.approver.record import Held
from services.ingress.countersigned import Countersigned
from services.ingress.errors import GatewayError
from services.runtime import keys
from services.runtime.admin import Health
from services.runtime.data_dir import DataDir
from services.runtime.nats.provision import provision
from services.runtime.nats.server import EmbeddedNats
from services.runtime.service import Context
from services.runtime.settings.approvals import ApprovalSettings
from services.runtime.settings.model import NatsSettings
from services.runtime.tasks import TaskGroup
from tests.approver.conftest import events, settings
from tests.conftest import SMALL, Bus, until

COPIES, INGRESSES = 3, 2


@dataclass
class Clock:
    """The time as all of them see it; it only goes forward."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class Copy:
    """One approver that can be killed."""

    approver: Approver
    tasks: TaskGroup

    async def crash(self) -> None:
        """Leave everything as it is."""
        await self.approver.desk.tasks.cancel()
        await self.tasks.cancel()
        await self.approver.client.close()
        await self.approver.runner.cleanup()
        await self.approver.broker.stop()
        await self.approver.verifier.close()


@dataclass
class Plant:
    """Everything on one bus."""

    bus: Bus
    data: DataDir
    admin: Client
    clock: Clock
    approvals: KeyValue
    grants: KeyValue
    copies: list[Copy] = field(default_factory=list)
    ingresses: list[Countersigned] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @classmethod
    async def build(cls, root: Path, stack: AsyncExitStack) -> "Plant":
        data, clock = DataDir(root / "data"), Clock()
        keys.create_approver_keys(data)
        server = EmbeddedNats(data)
        await server.start()
        stack.push_async_callback(server.stop)
        bus = Bus(server, stack)
        admin = await bus.connect("admin")
        await provision(admin, NatsSettings(max_bytes=SMALL))
        jetstream = admin.jetstream()
        policy = PolicyDocument(version="v1", text="", applied_at=utc_now())
        in_force = await jetstream.key_value(subjects.POLICY_BUCKET)
        await in_force.put(subjects.POLICY_KEY, policy.model_dump_json().encode())
        stack.enter_context(mock.patch("services.approver.__main__.utc_now", clock))
        stack.enter_context(mock.patch("services.approver.sweeper.TICK", 0.05))
        stack.enter_context(mock.patch("services.approver.sweeper.GRACE", 0.2))
        stack.enter_context(mock.patch("services.approver.delivery.ACK_WAIT", 1.0))
        approvals = await jetstream.key_value(subjects.APPROVALS_BUCKET)
        plant = cls(bus, data, admin, clock, approvals, await jetstream.key_value(subjects.GRANTS_BUCKET))
        for _ in range(COPIES):
            plant.copies.append(await plant.copy())
        for _ in range(INGRESSES):
            plant.ingresses.append(await plant.ingress())
        return plant

    async def copy(self) -> Copy:
        tasks = TaskGroup("approver", on_error=self.failures.append)
        context = Context(
            name="approver",
            settings=settings(),
            data=self.data,
            health=Health("approver"),
            registry=CollectorRegistry(),
            tracer_provider=None,
            tasks=tasks,
            stopping=asyncio.Event(),
        )
        self.data.endpoints.write_text(f'{{"nats": "{self.bus.server.url}"}}')
        return Copy(await start(context), tasks)

    async def ingress(self) -> Countersigned:
        jetstream = (await self.bus.connect("ingress")).jetstream()
        return Countersigned(
            approvals=await jetstream.key_value(subjects.APPROVALS_BUCKET),
            grants=await jetstream.key_value(subjects.GRANTS_BUCKET),
            policy=await jetstream.key_value(subjects.POLICY_BUCKET),
            trusted=keys.trusted_keys(ApprovalSettings(), self.data),
            clock=self.clock,
        )

    async def stop(self) -> None:
        for copy in self.copies:
            await copy.crash()

    async def publish(self, event: Event) -> None:
        await self.admin.jetstream().publish(subjects.of(event), event.model_dump_json().encode())

    async def ask(self, request: ApprovalRequested) -> None:
        """Ask as policy does, and wait for the entry."""
        await self.publish(request)
        await until(lambda: self.record(request.approval_id))

    async def record(self, approval_id: str) -> Held | None:
        try:
            return Held.model_validate_json((await self.approvals.get(approval_id)).value or b"")
        except KeyNotFoundError:
            return None

    async def grant(self, grant_id: str) -> Grant | None:
        try:
            return Grant.model_validate_json((await self.grants.get(grant_id)).value or b"")
        except KeyNotFoundError:
            return None

    async def resolutions(self, approval_id: str) -> list[ApprovalResolved]:
        """What the record has of how a question was settled."""
        found = await events(self.admin, f"cs.approval.resolved.{approval_id}")
        return [ApprovalResolved.model_validate(event) for event in found]

    async def spends(self, request: ApprovalRequested, times: int) -> int:
        """So many at once, spread over the ingresses; how many succeeded."""
        held = verdict(request, Decision.HOLD)
        attempts = [
            self.ingresses[number % INGRESSES].spend(request.approval_id, attempt(request), held)
            for number in range(times)
        ]
        return await _succeeded(attempts)

    async def grant_uses(self, request: ApprovalRequested, certificate: str, times: int) -> int:
        """As `spends`, under a grant."""
        allowed = verdict(request, Decision.ALLOW, certificate)
        attempts = [
            self.ingresses[number % INGRESSES].check_grant(attempt(request), allowed) for number in range(times)
        ]
        return await _succeeded(attempts)


def attempt(request: ApprovalRequested, **changes: Any) -> OperationAttempted:
    """The caller's operation, as its ingress has it."""
    return OperationAttempted(
        ingress=request.ingress,
        session_id=request.session_id,
        operation_id=new_id(),
        identity=request.identity,
        connector=request.connector,
        operation=request.operation,
    ).model_copy(update=changes)


def verdict(request: ApprovalRequested, decision: Decision, certificate: str | None = None) -> Verdict:
    """What policy answers about it."""
    return Verdict(
        decision=decision,
        rules=tuple(requirement.rule for requirement in request.terms.requirements),
        policy_version=request.policy_version,
        approval_id=request.approval_id,
        certificate=certificate,
    )


async def _succeeded(attempts: list[Any]) -> int:
    results = await asyncio.gather(*attempts, return_exceptions=True)
    unexpected = [each for each in results if isinstance(each, BaseException) and not isinstance(each, GatewayError)]
    assert not unexpected, unexpected
    return sum(not isinstance(each, BaseException) for each in results)
