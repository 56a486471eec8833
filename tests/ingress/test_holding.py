"""Held operations, seen from ingress: what people gave is checked claim by claim and spent once (G5)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from joserfc.jwk import OKPKey

from schemas import subjects
from schemas.approvals import ApprovalRecord, Grant, Reviewer
from schemas.base import new_id, utc_now
from schemas.certificates import Certificate
from schemas.events import ApprovalRequested, ApprovalState, OperationAttempted, VerdictReached
from schemas.policies import PolicyDocument
from schemas.verdicts import ApprovalTerms, Decision, Requirement, Verdict
from services.policy.evaluate import judge
from services.policy.grants import Grants
from services.policy.rules import parse_policy
from services.runtime import keys
from services.runtime.certificates import sign
from services.runtime.settings.approvals import ApprovalSettings
from tests.conftest import until
from tests.ingress.conftest import Gateway, allow

REVIEWER = Reviewer(issuer="i", subject="grace", email="grace@example.com", groups=("dba",))


@dataclass
class People:
    """Writes what an approver would, with the approvers' own key and NATS user."""

    gateway: Gateway
    bucket: Any
    grants: Any
    key: OKPKey

    async def policy(self, version: str = "v1") -> None:
        admin = await self.gateway.bus.connect("admin")
        bucket = await admin.jetstream().key_value(subjects.POLICY_BUCKET)
        document = PolicyDocument(version=version, text="", applied_at=utc_now())
        await bucket.put(subjects.POLICY_KEY, document.model_dump_json().encode())

    def certificate(self, attempt: OperationAttempted, approval_id: str, **changes: Any) -> Certificate:
        claims: dict[str, Any] = {
            "kind": "once",
            "id": approval_id,
            "issuer": attempt.identity.issuer,
            "subject": attempt.identity.subject,
            "connector": attempt.connector.name,
            "rules": ("ask",),
            "policy_version": "v1",
            "operation_digest": attempt.operation.digest,
            "approved_by": ("grace@example.com",),
            "issued_at": utc_now(),
            "expires_at": utc_now() + timedelta(minutes=5),
        }
        return Certificate(**(claims | changes))

    async def record(
        self, attempt: OperationAttempted, approval_id: str, state: ApprovalState, certificate: str | None = None
    ) -> None:
        request = ApprovalRequested(
            ingress=attempt.ingress,
            session_id=attempt.session_id,
            approval_id=approval_id,
            operation_id=attempt.operation_id,
            identity=attempt.identity,
            connector=attempt.connector,
            operation=attempt.operation,
            terms=terms(),
            policy_version="v1",
        )
        record = ApprovalRecord(
            request=request, state=state, approved_by=(REVIEWER,), decided_by="grace", certificate=certificate
        )
        await self.bucket.put(approval_id, record.model_dump_json().encode())

    async def approve(self, attempt: OperationAttempted, approval_id: str, **changes: Any) -> None:
        signed = sign(self.certificate(attempt, approval_id, **changes), self.key)
        await self.record(attempt, approval_id, ApprovalState.APPROVED, signed)
        hint = Verdict(decision=Decision.ALLOW, approval_id=approval_id, certificate=signed)
        await self.gateway.verdict(attempt, hint, by="approver")

    async def load(self, approval_id: str) -> ApprovalRecord:
        entry = await self.bucket.get(approval_id)
        return ApprovalRecord.model_validate_json(entry.value)

    async def state(self, approval_id: str) -> str:
        return (await self.load(approval_id)).state


def terms() -> ApprovalTerms:
    return ApprovalTerms(
        requirements=(Requirement(rule="ask", by=("dba",)),), expires_at=utc_now() + timedelta(minutes=5)
    )


def hold(attempt: OperationAttempted) -> Verdict:
    """What policy answers: a new question, or the presented approval."""
    presented = attempt.asked.approval_id
    return Verdict(
        decision=Decision.HOLD,
        rules=("ask",),
        reason="a person has to look at this",
        policy_version="v1",
        approval_id=presented or new_id(),
        terms=None if presented else terms(),
    )


@pytest.fixture
async def people(gateway: Gateway) -> People:
    await gateway.boot()
    approver = (await gateway.bus.connect("approver")).jetstream()
    made = People(
        gateway,
        await approver.key_value(subjects.APPROVALS_BUCKET),
        await approver.key_value(subjects.GRANTS_BUCKET),
        keys.signing_key(ApprovalSettings(), gateway.data),
    )
    await made.policy()
    return made


class Held:
    """A request that waits; its attempt and approval id as soon as it is judged."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.approval_id = new_id()
        gateway.decide = self.decide

    def decide(self, attempt: OperationAttempted) -> Verdict:
        verdict = hold(attempt)
        return verdict.model_copy(update={"approval_id": attempt.asked.approval_id or self.approval_id})

    async def send(self, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self.gateway.call("POST", "/vendor/pay", data=b'{"amount": 5}', **options) as reply:
            return reply.status, await reply.json()

    async def attempt(self, number: int = 1) -> OperationAttempted:
        await until(lambda: len(self.gateway.attempts) >= number)
        return self.gateway.attempts[number - 1]


async def test_an_approved_operation_runs_once_and_names_who_approved(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.approve(await held.attempt(), held.approval_id)
    assert (await call)[0] == 200
    outcome = await people.gateway.outcome()
    assert (outcome["outcome"], outcome["approved_by"]) == ("forwarded", ["grace@example.com"])
    assert outcome["approval_id"] == held.approval_id
    assert await people.state(held.approval_id) == "spent"
    again = await held.send(headers={"Countersign-Approval": held.approval_id})
    assert again[0] == 403
    assert len(people.gateway.upstream.seen) == 1


async def test_a_denied_operation_says_who_and_why(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.record(await held.attempt(), held.approval_id, ApprovalState.DENIED)
    status, body = await call
    assert (status, body["detail"]) == (403, "the approval is denied by grace")
    assert people.gateway.upstream.seen == []


TAMPERINGS: dict[str, dict[str, Any]] = {
    "another body": {"operation_digest": "0" * 64},
    "another identity": {"subject": "mallory"},
    "another issuer": {"issuer": "https://elsewhere.example"},
    "another connector": {"connector": "other"},
    "another rule": {"rules": ("else",)},
    "another policy": {"policy_version": "v0"},
    "another approval": {"id": new_id()},
    "expired": {"expires_at": utc_now() - timedelta(seconds=1)},
    "a grant for an approval": {"kind": "grant"},
}


@pytest.mark.parametrize("case", TAMPERINGS)
async def test_a_certificate_for_anything_else_is_refused(people: People, case: str) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.approve(await held.attempt(), held.approval_id, **TAMPERINGS[case])
    status, body = await call
    assert (status, body["error"]["code"]) == (403, "approval_refused")
    assert people.gateway.upstream.seen == []
    assert await people.state(held.approval_id) == "approved"


async def test_a_forged_signature_is_refused(people: People) -> None:
    people.key = OKPKey.generate_key("Ed25519")
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.approve(await held.attempt(), held.approval_id)
    status, body = await call
    assert (status, body["error"]["code"]) == (403, "approval_refused")
    assert people.gateway.upstream.seen == []


async def test_a_verdict_alone_releases_nothing(people: People) -> None:
    """Whoever may publish verdicts still cannot release a held operation without an approval in the bucket."""
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send(headers={"Prefer": "wait=1"}))
    attempt = await held.attempt()
    for by in ("approver", "policy"):
        await people.gateway.verdict(attempt, Verdict(decision=Decision.ALLOW), by=by)
    status, body = await call
    assert (status, body["error"]["code"]) == (403, "approval_pending")
    assert people.gateway.upstream.seen == []


async def test_a_policy_that_changed_meanwhile_refuses_the_approval(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    attempt = await held.attempt()
    await people.policy("v2")
    await people.approve(attempt, held.approval_id)
    status, body = await call
    assert status == 403
    assert "the policy has changed" in body["detail"]


async def test_respond_async_then_the_same_request_with_the_approval(people: People) -> None:
    held = Held(people.gateway)
    status, body = await held.send(headers={"Prefer": "respond-async"})
    assert (status, body["approval_id"]) == (202, held.approval_id)
    await people.approve(await held.attempt(), held.approval_id)
    async with people.gateway.call(
        "POST", "/vendor/pay", data=b'{"amount": 6}', headers={"Countersign-Approval": held.approval_id}
    ) as other_body:
        assert other_body.status == 403
    status, _ = await held.send(headers={"Countersign-Approval": held.approval_id})
    assert status == 200
    outcomes = [(await people.gateway.outcome(n))["outcome"] for n in (1, 2, 3)]
    assert outcomes == ["deferred", "denied", "forwarded"]


async def test_only_one_of_two_simultaneous_requests_spends_an_approval(people: People) -> None:
    held = Held(people.gateway)
    await held.send(headers={"Prefer": "respond-async"})
    await people.approve(await held.attempt(), held.approval_id)
    calls = [held.send(headers={"Countersign-Approval": held.approval_id}) for _ in range(8)]
    statuses = [status for status, _ in await asyncio.gather(*calls)]
    assert sorted(statuses) == [200, *[403] * 7]
    assert len(people.gateway.upstream.seen) == 1


async def test_a_caller_that_leaves_withdraws_its_question(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await held.attempt()
    await until(lambda: people.gateway.ingress and people.gateway.ingress.parts.gate._people)
    call.cancel()
    await until(lambda: people.gateway.events("ApprovalWithdrawn"))
    withdrawn = people.gateway.events("ApprovalWithdrawn")[0]
    assert withdrawn["approval_id"] == held.approval_id
    assert (await people.gateway.outcome())["outcome"] == "withdrawn"


async def test_a_hold_that_comes_after_the_caller_left_is_withdrawn(people: People) -> None:
    held, gateway = Held(people.gateway), people.gateway
    gateway.decide = lambda attempt: None
    call = asyncio.ensure_future(held.send())
    attempt = await held.attempt()
    call.cancel()
    assert (await gateway.outcome())["outcome"] == "failed"
    await gateway.verdict(attempt, held.decide(attempt))
    await until(lambda: gateway.events("ApprovalWithdrawn"))
    [withdrawn] = gateway.events("ApprovalWithdrawn")
    assert (withdrawn["approval_id"], withdrawn["operation_id"]) == (held.approval_id, attempt.operation_id)


@pytest.mark.parametrize("state", [ApprovalState.EXPIRED, ApprovalState.WITHDRAWN])
async def test_an_ended_question_ends_the_wait(people: People, state: ApprovalState) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.record(await held.attempt(), held.approval_id, state)
    assert (await call)[0] == 403
    assert (await people.gateway.outcome())["outcome"] == str(state)


async def test_a_grant_lets_later_operations_through_until_it_is_revoked(people: People) -> None:
    grant_id = new_id()

    def by_grant(attempt: OperationAttempted) -> Verdict:
        certificate = people.certificate(attempt, grant_id, kind="grant", operation_digest="")
        signed = sign(certificate, people.key)
        return Verdict(decision=Decision.ALLOW, rules=("ask",), policy_version="v1", certificate=signed)

    people.gateway.decide = by_grant
    grant = Grant(
        grant_id=grant_id,
        approval_id=new_id(),
        issuer="countersign-local",
        subject="agent-7",
        rule="ask",
        connector="vendor",
        policy_version="v1",
        approved_by="grace",
        expires_at=utc_now() + timedelta(hours=1),
        certificate="",
    )
    assert (await status_of(people.gateway))[0] == 403
    await people.grants.put(grant_id, grant.model_dump_json().encode())
    for _ in range(2):
        assert (await status_of(people.gateway))[0] == 200
    await people.grants.delete(grant_id)
    assert await status_of(people.gateway) == (403, "approval_refused")


RULES = """
rules:
  - {name: hide, when: connector.name == "vendor", mask: {response: [EMAIL]}}
  - {name: reads, when: action == "http.post", allow: true}
  - {name: ask, when: action == "http.post", approve: {by: [dba], grant: 1h}}
"""


async def test_a_grant_counts_beside_rules_that_mask_or_allow(people: People) -> None:
    """As the real policy weighs it: an allow under a grant names every rule that matched."""
    policy, grants, grant_id = parse_policy(RULES), Grants(), new_id()
    await people.policy(policy.version)
    identity = {"issuer": "countersign-local", "subject": "agent-7"}

    def judged(attempt: OperationAttempted) -> Verdict:
        claims = {"kind": "grant", "operation_digest": "", "policy_version": policy.version}
        certificate = sign(people.certificate(attempt, grant_id, **claims), people.key)
        grant = Grant(
            grant_id=grant_id,
            approval_id=new_id(),
            rule="ask",
            connector="vendor",
            policy_version=policy.version,
            approved_by="grace",
            expires_at=utc_now() + timedelta(hours=1),
            certificate=certificate,
            **identity,
        )
        grants.add(grant)
        return judge(policy, attempt, grants).verdict

    people.gateway.decide = judged
    await people.grants.put(grant_id, b"{}")
    assert (await status_of(people.gateway))[0] == 503
    attempt = people.gateway.attempts[0]
    assert judged(attempt).rules == ("hide", "reads", "ask")
    await people.grants.put(grant_id, next(iter(grants._by_id.values())).model_dump_json().encode())
    assert (await status_of(people.gateway))[0] == 200


def asked_when(when: datetime) -> str:
    """An approval's id that was made then (UUIDv7, RFC 9562, section 5.7)."""
    return str(UUID(int=int(when.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62))


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        (lambda: asked_when(utc_now() - timedelta(seconds=5)), (202, "")),
        (lambda: asked_when(utc_now() - timedelta(days=3)), (403, "approval_refused")),
        (lambda: asked_when(utc_now() + timedelta(days=3)), (403, "approval_refused")),
        (lambda: str(uuid4()), (403, "approval_refused")),
        (lambda: "AKIAIOSFODNN7EXAMPLE", (400, "bad_approval")),
        (lambda: new_id() + "0", (400, "bad_approval")),
    ],
    ids=("may come yet", "of days ago", "of days to come", "of no time", "no id", "an id and more"),
)
async def test_an_approval_that_nobody_knows_opens_nothing(
    people: People, presented: Callable[[], str], expected: tuple[int, str]
) -> None:
    people.gateway.decide = lambda attempt: hold(attempt).model_copy(update={"terms": terms()})
    fields = {"Countersign-Approval": presented(), "Prefer": "respond-async"}
    async with people.gateway.call("POST", "/vendor/pay", data=b"{}", headers=fields) as reply:
        found = (reply.status, (await reply.json()).get("error", {}).get("code", ""))
    assert found == expected
    if expected[0] == 400:
        assert not any(b"AKIA" in raw for raw in people.gateway.raw)


async def test_somebody_elses_approval_tells_nothing(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    attempt = await held.attempt()
    await people.record(attempt, held.approval_id, ApprovalState.DENIED)
    assert (await call)[0] == 403
    token = people.gateway.token("agent-9")
    fields = {"Countersign-Approval": held.approval_id}
    async with people.gateway.call("POST", "/vendor/pay", token, data=b'{"amount": 5}', headers=fields) as reply:
        body = await reply.json()
    assert (reply.status, body["detail"]) == (403, "there is no such approval")


async def test_who_does_not_wait_and_wants_no_202_gets_none(people: People) -> None:
    held = Held(people.gateway)
    status, body = await held.send(headers={"Prefer": "wait=0"})
    assert (status, body["error"]["code"]) == (403, "approval_pending")


async def test_header_fields_are_part_of_what_is_approved(people: People) -> None:
    held = Held(people.gateway)
    mine = {"Stripe-Account": "acct_mine", "X-Mail": "bob@example.com", "Cookie": "session=c2Vzc2lvbg"}
    await held.send(headers=mine | {"Prefer": "respond-async"})
    attempt = await held.attempt()
    assert attempt.operation.attributes["fields"] == [
        "cookie: [HIDDEN]",
        "stripe-account: acct_mine",
        attempt.operation.attributes["fields"][2],
    ]
    assert "bob@example.com" not in attempt.operation.attributes["fields"][2]
    assert attempt.findings["EMAIL"] == 1
    await people.approve(attempt, held.approval_id)
    shown = {"Countersign-Approval": held.approval_id}
    for other in ({"Stripe-Account": "acct_other"}, {"X-Amz-Target": "DeleteTable"}):
        assert (await held.send(headers=mine | other | shown))[0] == 403
    volatile = {"User-Agent": "again", "X-Request-Id": new_id(), "x-stainless-retry-count": "1"}
    assert (await held.send(headers=mine | volatile | shown))[0] == 200


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X-Original-URL"])
async def test_a_field_that_would_change_what_was_judged_is_refused(people: People, name: str) -> None:
    async with people.gateway.call("POST", "/vendor/pay", data=b"{}", headers={name: "DELETE"}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, "override")
    assert people.gateway.upstream.seen == []


async def test_the_approvers_voice_is_not_the_policys(people: People) -> None:
    """What a stolen password of the approver's is good for: NATS refuses it policy's subject, and ingress the claim."""
    held = Held(people.gateway)
    people.gateway.decide = lambda attempt: None
    call = asyncio.ensure_future(held.send())
    attempt = await held.attempt()
    allow = Verdict(decision=Decision.ALLOW, rules=("ask",), policy_version="v1")
    forged = VerdictReached(
        ingress=attempt.ingress,
        session_id=attempt.session_id,
        operation_id=attempt.operation_id,
        by="policy",
        verdict=allow,
    )
    complaints: list[str] = []

    async def note(error: Exception) -> None:
        complaints.append(str(error))

    approver = await people.gateway.bus.connect("approver", error=note)
    for subject in (subjects.of(forged), subjects.verdict(attempt.ingress, attempt.operation_id, "approver")):
        await approver.publish(subject, forged.model_dump_json().encode())
    await approver.flush()
    await until(lambda: any("permissions violation" in words.lower() for words in complaints))
    await people.gateway.verdict(attempt, Verdict(decision=Decision.DENY, rules=("ask",), policy_version="v1"))
    assert (await call)[0] == 403
    assert people.gateway.upstream.seen == []


async def status_of(gateway: Gateway) -> tuple[int, str]:
    async with gateway.call("POST", "/vendor/pay", data=b"{}") as reply:
        return reply.status, (await reply.json()).get("error", {}).get("code", "")


async def test_while_the_bus_is_away_no_approval_is_used(people: People) -> None:
    held = Held(people.gateway)
    call = asyncio.ensure_future(held.send())
    await people.approve(await held.attempt(), held.approval_id, policy_version="v1")
    assert (await call)[0] == 200
    await people.gateway.bus.server.kill()
    status, _ = await held.send(headers={"Countersign-Approval": held.approval_id})
    assert status == 503
    await people.gateway.bus.server.start()  # or ingress would wait for it when it stops


async def test_who_waits_for_people_takes_no_place_and_one_identity_not_all(gateway: Gateway) -> None:
    await gateway.boot(limits={"operations": 1, "held": 3, "held_per_identity": 2})
    gateway.decide = lambda attempt: hold(attempt) if attempt.operation.path == "/pay" else allow(attempt)

    async def status(path: str, subject: str) -> int:
        async with gateway.call("POST", f"/vendor{path}", gateway.token(subject), data=b"{}") as reply:
            return reply.status

    assert gateway.ingress
    limiter = gateway.ingress.parts.limiter
    calls = []
    for number, subject in enumerate(("agent-7", "agent-7", "agent-8"), 1):
        calls.append(asyncio.ensure_future(status("/pay", subject)))
        await until(lambda number=number: limiter.waiting == number)
    assert limiter.in_flight == 0
    assert await status("/read", "agent-9") == 200
    assert await status("/pay", "agent-9") == 503
    calls.pop().cancel()
    await until(lambda: limiter.waiting == 2)
    assert await status("/pay", "agent-7") == 429
    withdrawn = await until(lambda: len(found := gateway.events("ApprovalWithdrawn")) == 3 and found)
    assert sorted(event["reason"] for event in withdrawn) == [
        "the agent disconnected",
        "too many wait for people already",
        "too many wait for people already",
    ]
    for call in calls:
        call.cancel()
    await until(lambda: limiter.waiting == limiter.in_flight == 0)
