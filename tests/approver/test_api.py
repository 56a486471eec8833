"""The whole flow without Slack: a question on the bus, a reviewer's token, a signed verdict."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from schemas import subjects
from schemas.approvals import Grant, GrantView
from schemas.base import new_id
from schemas.certificates import Certificate
from schemas.events import ApprovalRequested
from schemas.verdicts import Decision
from services.approver.pending import Approve, Deny
from services.approver.record import Held
from services.runtime import keys
from services.runtime.certificates import verify
from services.runtime.settings.approvals import ApprovalSettings
from tests.approver.builders import AGENT, DBA, SECURITY, person, question
from tests.approver.conftest import World, events
from tests.conftest import until


def trusted(world: World, certificate: str | None) -> Certificate:
    return verify(certificate or "", keys.trusted_keys(ApprovalSettings(), world.data))


async def test_a_reviewer_approves_and_ingress_gets_a_certificate_for_exactly_this_operation(world: World) -> None:
    await world.approver()
    asked = await world.ask(question())
    await world.until_state(asked.approval_id, "requested")
    alice = world.token("alice", "dba")
    listed = await until(lambda: world.query(alice, do="list"))
    await until(lambda: _lists(world, alice, asked.approval_id))
    assert listed.status == 200
    reply = await world.query(alice, do="approve", approval_id=asked.approval_id, reason="fine")
    assert (reply.status, reply.approvals[0].state) == (200, "approved")

    verdict = (await until(lambda: world.verdicts))[0]
    assert verdict.operation_id == asked.operation_id
    assert verdict.verdict.decision is Decision.ALLOW
    assert verdict.verdict.approved_by == ("alice@example.com",)
    claims = trusted(world, verdict.verdict.certificate)
    assert (claims.kind, claims.id, claims.operation_digest) == ("once", asked.approval_id, asked.operation.digest)
    assert (claims.issuer, claims.subject, claims.connector) == (AGENT.issuer, AGENT.subject, "orders")
    assert (claims.rules, claims.policy_version) == (("writes-need-a-person",), "v1")
    assert claims.expires_at == asked.terms.expires_at
    assert claims.approved_by == ("alice@example.com",)


async def _lists(world: World, token: str, approval_id: str) -> bool:
    reply = await world.query(token, do="list")
    return approval_id in [view.approval_id for view in reply.approvals]


async def test_the_outcome_is_published_once_and_marked(world: World) -> None:
    await world.approver()
    asked = await world.ask(question())
    await world.until_state(asked.approval_id, "requested")
    await world.query(world.token("alice", "dba"), do="deny", approval_id=asked.approval_id, reason="not on a Friday")
    record = await until(lambda: _announced(world, asked.approval_id))
    assert record.reason == "not on a Friday"
    [resolved] = await world.resolutions()
    assert (resolved.state, resolved.decided_by) == ("denied", ("alice@example.com",))
    assert world.verdicts[0].verdict.decision is Decision.DENY
    assert "not on a Friday" in world.verdicts[0].verdict.reason
    assert world.verdicts[0].verdict.certificate is None


async def requested(world: World, *args: Any, **kwargs: Any) -> ApprovalRequested:
    asked = await world.ask(question(*args, **kwargs))
    await world.until_state(asked.approval_id, "requested")
    return asked


async def test_a_wrong_or_missing_token_gets_nothing(world: World) -> None:
    await world.approver()
    asked = await requested(world)
    for token in ("", "garbage", world.token("alice", "dba")[:-4] + "AAAA"):
        assert (await world.query(token, do="approve", approval_id=asked.approval_id)).status == 401
    assert (await world.record(asked.approval_id)).state == "requested"


async def test_people_see_what_they_may_decide_and_what_they_asked(world: World) -> None:
    await world.approver()
    asked = await requested(world)
    mine, dba, stranger = world.token("agent-7"), world.token("alice", "dba"), world.token("eve", "interns")
    await until(lambda: _lists(world, dba, asked.approval_id))
    assert await _lists(world, mine, asked.approval_id)
    assert not await _lists(world, stranger, asked.approval_id)
    shown = await world.query(mine, do="get", approval_id=asked.approval_id)
    assert (shown.status, shown.approvals[0].statement) == (200, asked.operation.statement)
    for query in ("get", "approve", "deny"):
        assert (await world.query(stranger, do=query, approval_id=asked.approval_id)).status == 404
    assert (await world.query(dba, do="get", approval_id=new_id())).status == 404
    elsewhere = world.token("bob", "dba", connector="other")
    assert (await world.query(elsewhere, do="approve", approval_id=asked.approval_id)).status == 404


async def test_nobody_approves_their_own_whatever_their_groups(world: World) -> None:
    await world.approver()
    admin = AGENT.model_copy(update={"owner": "root", "groups": ("dba", "admins")})
    asked = await requested(world, identity=admin)
    for token in (
        world.token("agent-7", "dba", "admins"),
        world.token("root", "dba"),
        world.token("other", "dba", email="AGENT@example.com"),
        world.token("helper", "dba", owner="root", kind="service"),
    ):
        reply = await world.query(token, do="approve", approval_id=asked.approval_id)
        assert (reply.status, "own operation" in reply.detail) == (403, True)
    assert (await world.record(asked.approval_id)).state == "requested"


async def test_a_second_decision_changes_nothing(world: World) -> None:
    await world.approver()
    asked = await requested(world)
    assert (await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)).status == 200
    late = await world.query(world.token("bob", "dba"), do="deny", approval_id=asked.approval_id)
    assert (late.status, "alice@example.com" in late.detail) == (409, True)


async def test_copies_that_decide_at_once_reach_one_decision(world: World) -> None:
    copies = [await world.approver() for _ in range(3)]
    asked = await requested(world)
    actions = [Approve(person("alice")), Deny(person("bob")), Approve(person("carol"))] * 2
    results = await asyncio.gather(
        *(copies[index % 3].desk.decide(asked.approval_id, action) for index, action in enumerate(actions))
    )
    assert len([result for result in results if isinstance(result, Held)]) == 1
    record = await until(lambda: _announced(world, asked.approval_id))
    assert len(record.history) == 2
    assert len(await world.resolutions()) == 1


async def test_a_quorum_needs_different_people(world: World) -> None:
    await world.approver()
    asked = await requested(world, DBA.model_copy(update={"quorum": 2}), SECURITY)
    alice, bob = world.token("alice", "dba"), world.token("bob", "dba", "security")
    first = await world.query(alice, do="approve", approval_id=asked.approval_id)
    assert first.approvals[0].state == "partly_approved"
    assert (await world.query(alice, do="approve", approval_id=asked.approval_id)).status == 409
    assert world.verdicts == []
    assert (await world.query(bob, do="approve", approval_id=asked.approval_id)).approvals[0].state == "approved"
    verdict = (await until(lambda: world.verdicts))[0]
    assert trusted(world, verdict.verdict.certificate).rules == ("writes-need-a-person", "pii-needs-security")


async def test_a_grant_has_its_own_certificate_and_ends_with_its_window(world: World) -> None:
    await world.approver()
    asked = await requested(world)
    alice = world.token("alice", "dba")
    assert (await world.query(alice, do="approve", approval_id=asked.approval_id, grant_seconds=7200)).status == 422
    await world.query(alice, do="approve", approval_id=asked.approval_id, grant_seconds=900)
    record = await until(lambda: _announced(world, asked.approval_id))
    bucket = await world.policy.jetstream().key_value(subjects.GRANTS_BUCKET)
    grant = Grant.model_validate_json((await bucket.get(record.grant_id)).value)
    claims = trusted(world, grant.certificate)
    assert (claims.kind, claims.id, claims.operation_digest) == ("grant", grant.grant_id, "")
    assert (claims.rules, claims.subject, claims.connector) == (("writes-need-a-person",), "agent-7", "orders")
    assert claims.expires_at == grant.expires_at == record.history[-1].at + timedelta(seconds=900)
    assert (await world.resolutions())[0].grant_id == grant.grant_id


async def test_metrics_count_what_is_pending_and_what_was_decided(world: World) -> None:
    approver = await world.approver()
    asked = await requested(world)
    value = approver.context.registry.get_sample_value
    await until(lambda: value("countersign_approvals_pending") == 1)
    assert value("countersign_approvals_oldest_pending_seconds") >= 0
    await world.query(world.token("alice", "dba"), do="deny", approval_id=asked.approval_id)
    await until(lambda: value("countersign_approvals_pending") == 0)
    labels = {"outcome": "denied", "channel": "cli"}
    assert value("countersign_approval_decisions_total", labels) == 1


async def _announced(world: World, approval_id: str):
    record = await world.record(approval_id)
    return record if record and record.announced else None


async def test_a_grant_is_seen_and_revoked_by_those_who_could_have_given_it(world: World) -> None:
    await world.approver()
    asked = await world.ask(question(terms={"max_uses": 3}))
    await world.until_state(asked.approval_id, "requested")
    alice, eve = world.token("alice", "dba"), world.token("eve", "interns")
    await world.query(alice, do="approve", approval_id=asked.approval_id, grant_seconds=900)

    async def listed(token: str) -> tuple[GrantView, ...]:
        return (await world.query(token, do="grants")).grants

    async def given() -> tuple[GrantView, ...]:
        return await listed(alice)

    (grant,) = await until(given)
    assert (grant.subject, grant.rule, grant.uses, grant.max_uses) == ("agent-7", "writes-need-a-person", 0, 3)
    assert "agent-7" in grant.scope
    assert "at most 3 times" in grant.scope
    assert await listed(eve) == ()
    assert (await world.query(eve, do="revoke", grant_id=grant.grant_id)).status == 404
    holder = world.token("agent-7", "agents", kind="agent")
    assert [one.grant_id for one in await listed(holder)] == [grant.grant_id], "whoever holds it may give it up"
    elsewhere = world.token("alice", "dba", connector="billing")
    assert (await world.query(elsewhere, do="revoke", grant_id=grant.grant_id)).status == 404
    revoked = await world.query(alice, do="revoke", grant_id=grant.grant_id, reason="enough")
    assert revoked.status == 200
    assert (await world.query(alice, do="revoke", grant_id=grant.grant_id)).status == 404
    await until(lambda: _gone(listed, alice))
    admin = await world.bus.connect("admin")
    (event,) = await events(admin, f"cs.approval.revoked.{asked.approval_id}")
    assert (event["grant_id"], event["revoked_by"], event["reason"]) == (grant.grant_id, "alice@example.com", "enough")


async def _gone(listed: Callable[[str], Awaitable[tuple[GrantView, ...]]], token: str) -> bool:
    return await listed(token) == ()
