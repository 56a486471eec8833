"""The whole flow without Slack: a question on the bus, a reviewer's token, a signed verdict."""

from schemas.certificates import Certificate
from schemas.verdicts import Decision
from services.runtime import keys
from services.runtime.certificates import verify
from services.runtime.settings.model import ApprovalSettings
from tests.approver.builders import AGENT, question
from tests.approver.conftest import World
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


async def _announced(world: World, approval_id: str):
    record = await world.record(approval_id)
    return record if record and record.announced else None
