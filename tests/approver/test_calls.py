"""What channels are told beside the question, by two copies on a real bus: each notice once, by whichever copy."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web
from faststream.nats import NatsBroker

from schemas import subjects
from schemas.approvals import Notice
from schemas.base import new_id, utc_now
from schemas.events import ApprovalPreviewed, ApprovalRequested, ApprovalUsed, Event, Outcome
from schemas.verdicts import Escalation
from services.approver.__main__ import Approver
from services.approver.channels import ChannelTrouble
from services.approver.pending import BreakGlass, Spend, move
from services.approver.record import Held
from tests.approver.builders import DBA, person, question
from tests.approver.conftest import World
from tests.conftest import until

ESCALATED = DBA.model_copy(update={"escalation": Escalation(after=0.5, to=("oncall",))})
GLASS = DBA.model_copy(update={"break_glass": ("sre",)})


@dataclass
class Ear:
    """A channel that keeps what it is told; the first `trouble` times it cannot take it."""

    told: list[tuple[str, str]]
    trouble: list[str] = field(default_factory=list)
    shown: list[Held] = field(default_factory=list)
    name: str = "ear"

    async def tell(self, record: Held, notice: Notice) -> None:
        if self.trouble:
            raise ChannelTrouble(self.trouble.pop())
        self.told.append((record.approval_id, notice.kind))

    async def refresh(self, record: Held) -> None:
        self.shown.append(record)

    def subscribe(self, broker: NatsBroker) -> None: ...
    def serve(self, app: web.Application) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def check(self) -> bool | str:
        return True


@dataclass
class Copies:
    """Two approvers, and what both of their channels were told."""

    world: World
    approvers: list[Approver]
    told: list[tuple[str, str]]
    trouble: list[str]

    async def done(self, approval_id: str) -> Held:
        """The record once each notice of it is told everywhere."""

        async def look() -> Held | None:
            record = await self.approvers[0].desk.approvals.load(approval_id)
            return record if record and record.notices and all(notice.done for notice in record.notices) else None

        found: Held = await until(look)
        return found


@pytest.fixture
async def copies(world: World) -> Copies:
    made = Copies(world, [await world.approver(), await world.approver()], [], [])
    for approver in made.approvers:
        approver.desk.channels.append(Ear(made.told, made.trouble))
    return made


async def asked(copies: Copies, request: ApprovalRequested) -> ApprovalRequested:
    await copies.world.ask(request)
    await copies.world.until_state(request.approval_id, "requested")
    return request


async def test_an_escalation_is_told_once_and_lets_others_decide(copies: Copies) -> None:
    request = await asked(copies, question(ESCALATED))
    record = await copies.done(request.approval_id)
    assert copies.told == [(request.approval_id, "escalated")]
    assert [step.what for step in record.history] == ["", "escalated"]
    reply = await copies.world.query(copies.world.token("ola", "oncall"), do="approve", approval_id=request.approval_id)
    assert (reply.status, reply.approvals[0].state) == (200, "approved")


async def test_a_channel_that_is_away_is_told_again(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.approver.notifier.RETRY", 0.2)
    copies.trouble += ["away", "still away"]
    request = await asked(copies, question(ESCALATED))
    await copies.done(request.approval_id)
    assert copies.told == [(request.approval_id, "escalated")]


async def test_a_copy_that_died_while_it_told_is_made_good(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claim lapses, and another copy tells it."""
    dead = copies.world
    request = question(GLASS)
    broken = move(Held(request=request), BreakGlass(person("sam", "sre"), "the shop is down"), request.at)
    assert isinstance(broken, Held)
    claimed = broken.notices[0].model_copy(update={"claimed": {"ear": utc_now() + timedelta(seconds=1)}})
    left = broken.model_copy(update={"notices": (claimed,), "announced": True})
    bucket = await (await dead.bus.connect("approver")).jetstream().key_value(subjects.APPROVALS_BUCKET)
    await bucket.create(request.approval_id, left.model_dump_json().encode())
    await copies.done(request.approval_id)
    assert copies.told == [(request.approval_id, "break_glass")]


async def test_broken_glass_is_told_counted_and_announced(copies: Copies) -> None:
    world = copies.world
    request = await asked(copies, question(GLASS))
    sam = world.token("sam", "sre")
    empty = await world.query(sam, do="break_glass", approval_id=request.approval_id)
    assert empty.status == 422
    reply = await world.query(sam, do="break_glass", approval_id=request.approval_id, reason="the shop is down")
    assert (reply.status, reply.approvals[0].break_glass) == (200, True)
    await copies.done(request.approval_id)
    assert copies.told == [(request.approval_id, "break_glass")]
    (resolved,) = await until(world.resolutions)
    assert (resolved.break_glass, resolved.reason, resolved.grant_id) == (True, "the shop is down", None)
    verdict = (await until(lambda: world.verdicts))[0].verdict
    assert verdict.reason == "approved by sam@example.com in an emergency: the shop is down"
    counted = [approver.desk.metrics.glass_broken._value.get() for approver in copies.approvers]
    assert sum(counted) == 1


async def publish(world: World, event: Event) -> None:
    await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())


def previewed(request: ApprovalRequested, rows: int) -> ApprovalPreviewed:
    return ApprovalPreviewed(
        ingress=request.ingress,
        session_id=request.session_id,
        approval_id=request.approval_id,
        operation_id=request.operation_id,
        estimated_rows=rows,
    )


async def test_the_blast_radius_is_kept_with_the_question_even_when_it_comes_first(copies: Copies) -> None:
    world, request = copies.world, question(terms={"preview": "estimate"})
    await publish(world, previewed(request, 1240))
    await asked(copies, request)
    record = await _when(copies, request, lambda found: found.preview)
    assert record.preview_due(request.at)
    await publish(world, previewed(request, 7))
    reply = await world.query(world.token("alice", "dba"), do="get", approval_id=request.approval_id)
    assert reply.approvals[0].preview
    assert reply.approvals[0].preview.estimated_rows == 1240, "the first counts: it is what people were shown"


async def test_people_are_asked_without_a_blast_radius_that_does_not_come(copies: Copies) -> None:
    request = question(terms={"preview": "count"})
    record = Held(request=request)
    assert not record.preview_due(request.at)
    assert record.preview_due(request.at + timedelta(seconds=3))
    assert Held(request=question()).preview_due(request.at)


async def test_how_the_operation_ended_is_kept_but_only_by_the_one_that_spent_it(copies: Copies) -> None:
    world, request = copies.world, await asked(copies, question())
    await world.query(world.token("alice", "dba"), do="approve", approval_id=request.approval_id)
    operation_id = new_id()
    approvals = copies.approvers[0].desk.approvals
    await world.until_state(request.approval_id, "approved")
    await approvals.step(request.approval_id, lambda held: move(held, Spend(operation_id, "ingress-1"), utc_now()))
    for spender, rows in ((new_id(), 9999), (operation_id, 1238)):
        event = ApprovalUsed(
            ingress=request.ingress,
            session_id=request.session_id,
            approval_id=request.approval_id,
            operation_id=spender,
            outcome=Outcome.FORWARDED,
            rows=rows,
        )
        await publish(world, event)
    record = await _when(copies, request, lambda found: found.use)
    assert record.use
    assert (record.use.rows, record.state) == (1238, "spent")


async def _when(copies: Copies, request: ApprovalRequested, condition) -> Held:
    async def look() -> Held | None:
        record = await copies.approvers[1].desk.approvals.load(request.approval_id)
        return record if record and condition(record) else None

    found: Held = await until(look)
    return found
