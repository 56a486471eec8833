"""Whatever changes between the yes and its use, or is forged on the way, opens nothing (G5).

A real approver signs, real ingresses check, on a real NATS with each service's own credentials.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OKPKey
from multidict import CIMultiDict
from nats.js.errors import KeyNotFoundError

from schemas import subjects
from schemas.base import new_id, utc_now
from schemas.events import ApprovalRequested, OperationAttempted, VerdictReached
from schemas.events import ApprovalState as State
from schemas.policies import PolicyDocument
from schemas.verdicts import Decision, Verdict
from services.approver import binding
from services.approver.pending import Approve
from services.approver.record import Held
from services.ingress.classify import http as classify_http
from services.ingress.classify.sql.operation import Bind
from services.ingress.classify.sql.operation import operation as sql_operation
from services.ingress.classify.sql.statements import parse
from services.ingress.content import Content, MediaType
from services.ingress.errors import Denied
from services.ingress.protocols.http import headers
from services.ingress.protocols.http.target import parse as parse_target
from services.runtime.certificates import sign
from services.runtime.nats.permissions import Role
from tests.approver.builders import person, question
from tests.approver.plant import Plant, attempt, verdict
from tests.conftest import until

KEY = b"k" * 32
DELETE = "DELETE FROM orders WHERE id = $1"


def sql_digest(statement: str = DELETE, bind: bytes = b"7", connector: str = "orders", **context: str) -> str:
    """As ingress makes it of a statement and its bind values."""
    (parsed,) = parse(statement)
    return sql_operation(
        parsed,
        (Bind(bind),),
        connector=connector,
        database="orders",
        recorded=statement,
        context=context,
        size=len(statement),
        key=KEY,
    ).digest


def http_digest(
    body: bytes = b'{"amount": 5}',
    target: str = "/orders/pay",
    method: str = "POST",
    content_type: str = "application/json",
    **fields: str,
) -> str:
    """As ingress makes it of a request."""
    return classify_http.operation(
        method,
        parse_target(target),
        Content(body, MediaType("application/json")),
        upgrade="",
        size=len(body),
        statement="",
        path="",
        query={},
        content_type=content_type,
        fields=headers.binding(CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})),
        key=KEY,
    ).digest


def digested(made: OperationAttempted, digest: str) -> OperationAttempted:
    return made.model_copy(update={"operation": made.operation.model_copy(update={"digest": digest})})


def renamed(made: OperationAttempted, **identity: Any) -> OperationAttempted:
    return made.model_copy(update={"identity": made.identity.model_copy(update=identity)})


def elsewhere(made: OperationAttempted) -> OperationAttempted:
    return made.model_copy(update={"connector": made.connector.model_copy(update={"name": "billing"})})


#: What the caller could change, in what ingress then attempts.
CHANGED: dict[str, Callable[[OperationAttempted], OperationAttempted]] = {
    "a bind value": lambda made: digested(made, sql_digest(bind=b"8")),
    "the statement": lambda made: digested(made, sql_digest(DELETE + " OR true")),
    "the search path": lambda made: digested(made, sql_digest(search_path="evil")),
    "a body in place of it": lambda made: digested(made, http_digest()),
    "the subject": lambda made: renamed(made, subject="agent-8"),
    "the issuer": lambda made: renamed(made, issuer="https://elsewhere.example"),
    "the connector": elsewhere,
}


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    async with AsyncExitStack() as stack:
        made = await Plant.build(tmp_path, stack)
        stack.push_async_callback(made.stop)
        yield made


async def approved(plant: Plant, digest: str = "") -> ApprovalRequested:
    """A question that somebody said yes to."""
    request = question(wait=0, grant=900, digest=digest or sql_digest())
    await plant.ask(request)
    assert isinstance(await plant.copies[0].approver.desk.decide(request.approval_id, Approve(person("alice"))), Held)
    return request


async def refused(plant: Plant, request: ApprovalRequested, made: OperationAttempted, held: Verdict) -> str:
    """Why it was refused; whatever it was, nothing was spent."""
    with pytest.raises(Denied) as caught:
        await plant.ingresses[0].spend(request.approval_id, made, held)
    record = await plant.record(request.approval_id)
    assert record
    assert record.spent_by is None
    return caught.value.detail


async def test_what_changed_since_the_yes_is_refused_and_the_real_one_goes_through(plant: Plant) -> None:
    request = await approved(plant)
    held, real = verdict(request, Decision.HOLD), attempt(request)
    for what, change in CHANGED.items():
        assert "cannot be used" in await refused(plant, request, change(real), held), what
    for changed in (("another-rule",), ("writes-need-a-person", "another-rule"), ()):
        assert "another rule" in await refused(plant, request, real, held.model_copy(update={"rules": changed}))
    judged_by = held.model_copy(update={"policy_version": "v2"})
    assert "policy has changed" in await refused(plant, request, real, judged_by)
    assert await plant.spends(request, 3) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (http_digest(), http_digest(b'{"amount": 50}')),
        (http_digest(), http_digest(target="/orders/pay?to=mallory")),
        (http_digest(), http_digest(method="PUT")),
        (http_digest(), http_digest(content_type="application/json; charset=utf-16")),
        (http_digest(), http_digest(Stripe_Account="acct_somebody_else")),
        (http_digest(X_Amz_Target="DynamoDB.GetItem"), http_digest(X_Amz_Target="DynamoDB.DeleteTable")),
        (sql_digest(), sql_digest(bind=b"")),
        (sql_digest(), sql_digest(connector="billing")),
    ],
)
def test_what_is_not_the_same_has_another_digest(one: str, other: str) -> None:
    assert one != other


async def test_a_policy_that_is_replaced_meanwhile_refuses_it(plant: Plant) -> None:
    request = await approved(plant)
    bucket = await plant.admin.jetstream().key_value(subjects.POLICY_BUCKET)
    document = PolicyDocument(version="v2", text="", applied_at=utc_now())
    await bucket.put(subjects.POLICY_KEY, document.model_dump_json().encode())
    assert "policy has changed" in await refused(plant, request, attempt(request), verdict(request, Decision.HOLD))


async def _written(plant: Plant, request: ApprovalRequested, **changes: Any) -> None:
    """What somebody who could write the bucket would put there."""
    record = await plant.record(request.approval_id)
    assert record
    forged = record.model_copy(update=changes)
    await plant.approvals.put(request.approval_id, forged.model_dump_json().encode())


async def test_no_entry_opens_anything_without_the_approvers_signature_on_just_that(plant: Plant) -> None:
    open_question, other = question(wait=0, digest=sql_digest()), await approved(plant)
    await plant.ask(open_question)
    record = await plant.record(open_question.approval_id)
    genuine = await plant.record(other.approval_id)
    assert record
    assert genuine
    assert genuine.certificate
    head, body, signature = genuine.certificate.split(".")
    mine = OKPKey.generate_key("Ed25519")
    forgeries = {
        "none": None,
        "somebody's own key": sign(binding.once(record, plant.clock()), mine),
        "one of another approval": genuine.certificate,
        "its claims without a signature": f"{head}.{body}.",
        "a signature of something else": f"{head}.{body[:-4]}AAAA.{signature}",
        "not a certificate": "yes",
    }
    made, held = attempt(open_question), verdict(open_question, Decision.HOLD)
    for what, certificate in forgeries.items():
        await _written(plant, open_question, state=State.APPROVED, certificate=certificate)
        assert "cannot be used" in await refused(plant, open_question, made, held), what


async def test_what_was_spent_is_not_approved_again_by_writing_it_so(plant: Plant) -> None:
    """Ingress may write the bucket: a stolen password of its could reset an entry, and no more than the one operation.

    The certificate binds the digest: what runs twice is exactly what was approved, and it is on record twice.
    """
    request = await approved(plant)
    assert await plant.spends(request, 1) == 1
    await _written(plant, request, state=State.APPROVED, spent_by=None)
    changed = digested(attempt(request), sql_digest(bind=b"8"))
    assert "differs" in await refused(plant, request, changed, verdict(request, Decision.HOLD))


#: What a service's stolen password must not be good for.
FORBIDDEN: dict[Role, tuple[str, ...]] = {
    "ingress": (
        subjects.verdict("i-1", new_id()),
        "cs.approval.requested.x",
        "cs.approval.resolved.x",
        "cs.approval.revoked.x",
        f"$KV.{subjects.GRANTS_BUCKET}.x",
        f"$KV.{subjects.POLICY_BUCKET}.{subjects.POLICY_KEY}",
    ),
    "recorder": (
        subjects.verdict("i-1", new_id()),
        "cs.approval.resolved.x",
        f"$KV.{subjects.APPROVALS_BUCKET}.x",
        f"$KV.{subjects.GRANTS_BUCKET}.x",
    ),
    "policy": (
        subjects.verdict("i-1", new_id(), "approver"),
        "cs.approval.resolved.x",
        f"$KV.{subjects.APPROVALS_BUCKET}.x",
        f"$KV.{subjects.GRANTS_BUCKET}.x",
        f"$KV.{subjects.POLICY_BUCKET}.{subjects.POLICY_KEY}",
    ),
    "approver": (
        subjects.verdict("i-1", new_id()),
        "cs.attempt.http.vendor",
        "cs.outcome.http.vendor",
        "cs.approval.requested.x",
        "cs.approval.withdrawn.x",
        f"$KV.{subjects.POLICY_BUCKET}.{subjects.POLICY_KEY}",
    ),
}


async def test_nats_refuses_what_is_not_a_services_own_to_say(plant: Plant) -> None:
    for role, forbidden in FORBIDDEN.items():
        complaints: list[str] = []

        async def note(error: Exception, complaints: list[str] = complaints) -> None:
            complaints.append(str(error).lower())

        client = await plant.bus.connect(role, error=note)
        for subject in forbidden:
            await client.publish(subject, b"{}")
        await client.flush()
        for subject in forbidden:
            words = f'permissions violation for publish to "{subject.lower()}"'
            await until(lambda words=words, complaints=complaints: any(words in each for each in complaints))
    with pytest.raises(KeyNotFoundError):
        await plant.grants.get("x")


async def test_policys_password_makes_verdicts_but_no_yes(plant: Plant) -> None:
    """It may say that a held operation is allowed; what ingress believes is the entry's signature."""
    request = question(wait=0, digest=sql_digest())
    await plant.ask(request)
    policy = await plant.bus.connect("policy")
    forged = VerdictReached(
        ingress=request.ingress,
        session_id=request.session_id,
        operation_id=request.operation_id,
        by="policy",
        verdict=verdict(request, Decision.ALLOW),
    )
    await policy.jetstream().publish(subjects.of(forged), forged.model_dump_json().encode())
    reason = await refused(plant, request, attempt(request), verdict(request, Decision.HOLD))
    assert "the approval is requested" in reason
