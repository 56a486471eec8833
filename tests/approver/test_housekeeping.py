"""What time and crashes leave behind, made good by any copy."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import pytest
import yaml
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from examples.slack_standin import Limits, SlackStandin
from schemas import subjects
from schemas.approvals import ApprovalRecord, Step, Use
from schemas.base import new_id
from schemas.events import ApprovalState, ApprovalWithdrawn, Outcome
from schemas.verdicts import Decision
from services.approver import binding, pending
from services.approver.record import Held
from services.approver.slack.blocks import APPROVE
from services.ingress.liveness import announce
from services.runtime import keys
from services.runtime.settings.approvals import ApprovalSettings
from services.runtime.tasks import TaskGroup
from tests.approver.builders import person, question
from tests.approver.conftest import PEOPLE, World, events
from tests.conftest import until


async def test_a_question_expires_and_the_caller_hears_it(world: World) -> None:
    await world.approver()
    asked = await world.ask(question(expires=0.3))
    await world.until_state(asked.approval_id, "expired")
    verdict = (await until(lambda: world.verdicts))[0].verdict
    assert (verdict.decision, verdict.reason) == (Decision.DENY, "expired: nobody decided in time")
    late = await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    assert late.status == 410


async def test_a_caller_that_disconnects_withdraws(world: World) -> None:
    await world.approver()
    asked = await world.ask(question())
    await world.until_state(asked.approval_id, "requested")
    event = ApprovalWithdrawn(
        ingress=asked.ingress,
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        reason="the caller disconnected",
    )
    await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())
    record = await world.until_state(asked.approval_id, "withdrawn")
    assert record.reason == "the caller disconnected"
    reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    assert (reply.status, "withdrawn" in reply.detail) == (409, True)


async def test_a_dead_ingress_withdraws_what_its_callers_waited_for_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.approver.sweeper.INGRESS_TTL", 0.5)
    await world.approver()
    bucket = await world.ingress.jetstream().key_value(subjects.INGRESSES_BUCKET)
    announcing = TaskGroup("test")
    announcing.start(announce(bucket, "alive"), "sign of life")
    await until(lambda: _keys(bucket))
    told = Held(request=question(ingress="dead"), awaited=False)  # its ingress said before it went down: come back
    approvals = await world.ingress.jetstream().key_value(subjects.APPROVALS_BUCKET)
    await approvals.put(told.approval_id, told.model_dump_json().encode())
    dead = await world.ask(question(ingress="dead"))
    deferred = await world.ask(question(ingress="dead", wait=0))
    alive = await world.ask(question(ingress="alive"))
    assert "gone" in (await world.until_state(dead.approval_id, "withdrawn")).reason
    await until(lambda: world.record(alive.approval_id))  # the last of the three
    for other in (deferred, told, alive):
        assert (await world.record(other.approval_id)).state == "requested"
    await announcing.cancel()


async def _keys(bucket: KeyValue) -> list[str]:
    try:
        return await bucket.keys()
    except NoKeysError:
        return []


async def _leave(world: World, *, announced: bool, spent: bool = False, by: str = "ingress-1") -> Held:
    """The entry as a copy left it that was killed right after the decision."""
    request = question(now=None)
    record = Held(request=request, history=())
    moved = pending.move(record, pending.Approve(person("alice"), 900), request.at)
    assert isinstance(moved, Held)
    signed = binding.certified(moved, keys.signing_key(ApprovalSettings(), world.data), request.at)
    signed = signed.model_copy(update={"announced": announced})
    if spent:
        signed = Held.model_validate(ApprovalRecord(**signed.model_dump(exclude={"grant_seconds"})).model_dump())
        step = Step(at=request.at, state=ApprovalState.SPENT, by=by)
        spent_now = {"state": ApprovalState.SPENT, "spent_by": new_id(), "history": (*signed.history, step)}
        signed = signed.model_copy(update=spent_now)
    bucket = await (await world.bus.connect("approver")).jetstream().key_value(subjects.APPROVALS_BUCKET)
    await bucket.create(request.approval_id, signed.model_dump_json().encode())
    return signed


async def test_a_decision_that_was_not_announced_is_announced_by_any_copy_once(world: World) -> None:
    left = await _leave(world, announced=False)
    await _leave(world, announced=True)
    await world.approver()
    await world.approver()
    verdict = (await until(lambda: world.verdicts))[0]
    assert verdict.operation_id == left.request.operation_id
    assert verdict.verdict.certificate == left.certificate
    await until(lambda: _announced(world, left.approval_id))
    assert [event.approval_id for event in await world.resolutions()] == [left.approval_id]
    grants = await world.policy.jetstream().key_value(subjects.GRANTS_BUCKET)
    assert (await grants.get(left.grant_id or "")).value


async def test_what_died_with_its_ingress_is_said_to_have_ended_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.approver.sweeper.INGRESS_TTL", 0.5)
    bucket = await world.ingress.jetstream().key_value(subjects.INGRESSES_BUCKET)
    announcing = TaskGroup("test")
    announcing.start(announce(bucket, "alive"), "sign of life")
    await until(lambda: _keys(bucket))
    running = await _leave(world, announced=True, spent=True, by="alive")
    lost = await _leave(world, announced=True, spent=True, by="dead")
    await world.approver()
    await world.approver()

    async def noted() -> Use | None:
        return (await world.record(lost.approval_id)).use

    use = await until(noted)
    assert (use.outcome, use.operation_id) == (Outcome.UNKNOWN, lost.spent_by)
    assert (await world.record(running.approval_id)).use is None
    assert len(await events(await world.bus.connect("admin"), subjects.APPROVALS_USED)) == 1
    await announcing.cancel()


async def test_one_that_ingress_spent_meanwhile_is_announced_as_approved(world: World) -> None:
    left = await _leave(world, announced=False, spent=True)
    await world.approver()
    record = await until(lambda: _announced(world, left.approval_id))
    assert record.state == "spent"
    [resolved] = await world.resolutions()
    assert resolved.state == "approved"


async def _announced(world: World, approval_id: str) -> ApprovalRecord | None:
    record = await world.record(approval_id)
    return record if record and record.announced else None


async def _process(world: World, tmp_path: Path, **approvals: Any) -> Process:
    """A real `python -m services.approver`, ready."""
    config = tmp_path / "countersign.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "connectors": {},
                "listen": {"approver": "127.0.0.1:0"},
                "identity": {"people": PEOPLE, "local": True},
                "approvals": approvals,
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.approver", "--config", str(config), "--data", str(world.data.root),
        stdout=PIPE, stderr=DEVNULL, env=os.environ,
    )  # fmt: skip
    assert process.stdout
    line = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert line["service"] == "approver"
    return process


async def test_kill_9_keeps_what_is_pending_and_a_new_process_decides_it(world: World, tmp_path: Path) -> None:
    first = await _process(world, tmp_path)
    asked = await world.ask(question())
    await world.until_state(asked.approval_id, "requested")
    first.kill()
    await first.wait()
    meanwhile = await world.ask(question())
    second = await _process(world, tmp_path)
    for request in (asked, meanwhile):
        await world.until_state(request.approval_id, "requested")
        reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=request.approval_id)
        assert reply.status == 200
    await until(lambda: len(world.verdicts) == 2)
    second.terminate()
    assert await asyncio.wait_for(second.wait(), 60) == 0


async def test_the_bus_may_restart(world: World) -> None:
    await world.approver()
    asked = await world.ask(question())
    await world.until_state(asked.approval_id, "requested")
    await world.bus.server.kill()
    await world.bus.server.start()
    reply = await until(lambda: _approved(world, asked.approval_id))
    assert reply.approvals[0].state == "approved"
    later = await world.ask(question(expires=2))
    await world.until_state(later.approval_id, "expired")


async def _approved(world: World, approval_id: str):
    from nats.errors import Error

    try:
        reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=approval_id)
    except (Error, OSError, TimeoutError):
        return None
    return reply if reply.status == 200 else None


async def test_kill_9_with_a_question_in_slack_keeps_its_one_message_and_its_buttons(
    world: World, tmp_path: Path
) -> None:
    async with SlackStandin(limits=Limits(redeliveries=10)) as slack:
        config = {
            "channel": "#agent-approvals", "bot_token": slack.bot_token, "app_token": slack.app_token,
            "api_url": slack.api_url,
        }  # fmt: skip
        first = await _process(world, tmp_path, slack=config)
        asked = await world.ask(question())
        message = await slack.wait_for_message("C0APPROVE")
        first.kill()
        await first.wait()
        await until(lambda: not slack.socket.connections)
        second = await _process(world, tmp_path, slack=config)
        await slack.wait_for_sockets()
        assert (await slack.click("alice", message.ts, APPROVE)).acked
        await world.until_state(asked.approval_id, "approved")
        await until(lambda: "Approved" in message.text, 60)
        assert len(slack.messages("C0APPROVE")) == 1
        second.terminate()
        assert await asyncio.wait_for(second.wait(), 60) == 0
