"""What people are asked survives whatever dies, covers what they saw, once, and cannot be forged (G5)."""

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.approvals import ApprovalRecord
from schemas.base import new_id, utc_now
from schemas.events import ApprovalState, VerdictReached
from schemas.verdicts import Decision, Verdict
from services.runtime.nats.client import connect
from services.runtime.nats.permissions import Role
from tests.conftest import until
from tests.guarantees.agents import Agents
from tests.guarantees.record import Audit, drained
from tests.guarantees.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Seconds without a bus: longer than an ingress waits for one answer of JetStream (nats-py's default of 5 s).
BUS_AWAY = 7.0


async def test_a_question_and_its_caller_outlive_approver_policy_and_bus(stack: Stack) -> None:
    agents = Agents(stack)
    nonce = agents.nonce()
    caller = agents.waiting(nonce)
    approval_id = await agents.open_approval(nonce)
    for name in ("approver", "policy", "nats"):
        await stack.kill(name)
    gave_up, _ = await asyncio.wait({caller}, timeout=BUS_AWAY)
    assert not gave_up, caller
    await stack.start_nats()
    await asyncio.gather(stack.start("approver"), stack.start("policy"))

    async def decided() -> bool:
        return (await agents.decide("approve", approval_id)).status == 200

    await until(decided)
    assert (await caller).status == 200
    assert stack.upstream.received[nonce] == 1


async def test_one_request_once_by_its_own_caller(stack: Stack) -> None:
    agents, nonce = Agents(stack), Agents.nonce()
    approval_id = await agents.ask(nonce)
    shown = {"Countersign-Approval": approval_id}
    assert (await agents.decide("approve", approval_id, "agent-7")).status == 403, "nobody approves their own"
    assert (await agents.decide("approve", approval_id, groups=("other",))).status in (403, 404)
    assert (await agents.decide("approve", approval_id)).status == 200
    other_body = await agents.post("refunds", nonce, headers=shown, body={"amount": 9999})
    assert (other_body.status, other_body.code) == (403, "approval_refused")
    other_path = await agents.post("refunds", agents.nonce(), headers=shown)
    assert (other_path.status, other_path.code) == (403, "approval_refused")
    somebody = await agents.post("refunds", nonce, headers=shown, token=stack.token("agent-8"))
    assert (somebody.status, somebody.code) == (403, "approval_refused")
    assert nonce not in stack.upstream.received
    replies = await asyncio.gather(*(agents.post("refunds", nonce, headers=shown) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [403] * 7
    assert stack.upstream.received[nonce] == 1


@pytest.mark.parametrize("role", ["ingress", "recorder"])
async def test_the_bus_refuses_verdicts_of_services_that_may_not_give_any(stack: Stack, role: Role) -> None:
    complaints: list[str] = []

    async def note(error: Exception) -> None:
        complaints.append(str(error))

    client = await connect(stack.bus(role), error=note)
    for subject in (subjects.verdict("i-x", new_id()), "cs.approval.resolved.x", "$KV.policy.current", "$KV.grants.x"):
        await client.publish(subject, b"{}")
        await client.flush()
        await until(lambda subject=subject: any(subject.lower() in words.lower() for words in complaints))
    await client.close()
    assert all("permissions violation" in words.lower() for words in complaints)


async def _pending(stack: Stack, approval_id: str) -> tuple[KeyValue, ApprovalRecord, int]:
    bucket = await stack.admin.jetstream().key_value(subjects.APPROVALS_BUCKET)
    entry = await bucket.get(approval_id)
    return bucket, ApprovalRecord.model_validate_json(entry.value or b""), entry.revision or 0


async def _forged_verdict(client: Client, record: ApprovalRecord) -> None:
    request = record.request
    verdict = Verdict(decision=Decision.ALLOW, policy_version=request.policy_version, approval_id=request.approval_id)
    event = VerdictReached(
        ingress=request.ingress,
        session_id=request.session_id,
        operation_id=request.operation_id,
        by="approver",
        verdict=verdict,
    )
    await client.publish(subjects.of(event), event.model_dump_json().encode())
    await client.flush()


async def test_a_forged_yes_opens_nothing(stack: Stack) -> None:
    """Whoever holds policy's password can publish verdicts, and whoever holds ingress's can write the bucket."""
    agents, nonce = Agents(stack), Agents.nonce()
    caller = agents.waiting(nonce)
    approval_id = await agents.open_approval(nonce)
    _, record, _ = await _pending(stack, approval_id)
    await _forged_verdict(await stack.connect("policy"), record)
    assert await agents.state(approval_id) == "requested"
    assert not caller.done()
    bucket = await (await stack.connect("ingress")).jetstream().key_value(subjects.APPROVALS_BUCKET)
    entry = await bucket.get(approval_id)
    forged = json.loads(entry.value or b"{}") | {"state": ApprovalState.APPROVED, "certificate": _unsigned(record)}
    await bucket.update(approval_id, json.dumps(forged).encode(), entry.revision)
    reply = await caller
    assert (reply.status, reply.code) == (403, "approval_refused")
    await drained(stack)
    assert nonce not in stack.upstream.received


def _unsigned(record: ApprovalRecord) -> str:
    """A certificate that says what is wanted, signed by nobody we trust."""
    from joserfc.jwk import OKPKey

    from schemas.certificates import Certificate
    from services.runtime.certificates import sign

    request = record.request
    certificate = Certificate(
        kind="once",
        id=request.approval_id,
        issuer=request.identity.issuer,
        subject=request.identity.subject,
        connector=request.connector.name,
        rules=tuple(requirement.rule for requirement in request.terms.requirements),
        policy_version=request.policy_version,
        operation_digest=request.operation.digest,
        approved_by=("ada",),
        issued_at=utc_now(),
        expires_at=request.terms.expires_at,
    )
    return sign(certificate, OKPKey.generate_key("Ed25519"))


async def test_who_asked_what_and_who_said_yes_is_on_record(stack: Stack) -> None:
    agents, nonce = Agents(stack), Agents.nonce()
    caller = agents.waiting(nonce)
    approval_id = await agents.open_approval(nonce)
    await agents.decide("approve", approval_id, "grace")
    assert (await caller).status == 200
    query = (
        f"SELECT state, subject, decided_by FROM approvals WHERE approval_id = '{approval_id}' AND state = 'approved'"
    )
    (row,) = await Audit(stack).rows_when(query)
    assert (row["subject"], row["decided_by"]) == ("agent-7", ["grace"])


async def test_a_grant_outlives_approver_and_policy_and_ends_when_it_is_revoked(stack: Stack) -> None:
    agents = Agents(stack)
    ada = stack.token("ada", ("finance",), kind="human")
    asked = await agents.post("payouts", agents.nonce(), headers={"Prefer": "respond-async"})
    await agents.asked(asked.approval_id)
    decision = {"reason": "for today", "grant_seconds": 600}
    path = f"/-/approvals/{asked.approval_id}/approve"
    assert (await agents.call("POST", path, token=ada, json=decision)).status == 200

    async def let_through() -> bool:
        return (await agents.post("payouts", agents.nonce(), headers={"Prefer": "respond-async"})).status == 200

    await until(let_through)
    for name in ("approver", "policy"):
        await stack.kill(name)
        await stack.restart(name)
    await until(let_through)

    async def grants() -> list[dict[str, Any]]:
        return (await agents.call("GET", "/-/grants", token=ada)).body.get("grants", [])

    (grant,) = await until(grants)
    assert grant["approval_id"] == asked.approval_id
    assert (await agents.call("POST", f"/-/grants/{grant['grant_id']}/revoke", token=ada, json={})).status == 200
    after = await agents.post("payouts", agents.nonce(), headers={"Prefer": "respond-async"})
    assert after.status != 200, "the very next operation"
    query = f"SELECT grant_id, revoked_by FROM grant_revocations WHERE grant_id = '{grant['grant_id']}'"
    (row,) = await Audit(stack).rows_when(query)
    assert row["revoked_by"] == "ada"
