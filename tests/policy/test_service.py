"""The service as processes on a real bus: it switches, refuses, recovers, and answers while one copy of two dies."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from schemas import subjects
from schemas.approvals import Grant
from schemas.base import new_id, utc_now
from schemas.events import ApprovalRequested
from schemas.policies import PolicyDocument
from schemas.verdicts import Decision
from services.policy.apply import apply
from tests.conftest import Bus, until
from tests.policy.attempts import attempt
from tests.policy.processes import Copy, Gate, start_copy

CHAT = "rules:\n  - name: chat\n    when: action == 'llm.chat'\n    allow: true\n"
NO_CHAT = "rules:\n  - name: no-chat\n    when: action == 'llm.chat'\n    deny: not today\n"
ASK = "rules:\n  - name: ask\n    when: 'true'\n    approve: {by: [dba], grant: 1h}\n"

Start = Callable[[], Awaitable[Copy]]


@pytest.fixture
async def start(bus: Bus, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts copies; all of them end with the test."""
    copies: list[Copy] = []

    async def start_one() -> Copy:
        copies.append(await start_copy(bus, tmp_path))
        return copies[-1]

    yield start_one
    for copy in copies:
        await copy.stop()


@pytest.fixture
async def gate(bus: Bus) -> Gate:
    return await Gate(await bus.connect("ingress")).listen()


async def test_without_a_policy_everything_is_denied(start: Start, gate: Gate) -> None:
    copy = await start()
    verdict = await gate.verdict(attempt())
    assert (verdict.decision, verdict.reason) == (Decision.DENY, "no policy is loaded")
    assert not await copy.ready()


async def test_two_copies_switch_together_and_refuse_what_is_broken(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    copies = [await start(), await start()]
    first = await apply(admin, CHAT, "test")
    for copy in copies:
        await until(lambda copy=copy: _runs(copy, first.version))
    assert all([await copy.ready() for copy in copies])
    assert {(await gate.verdict(attempt())).decision for _ in range(8)} == {Decision.ALLOW}

    bucket = await admin.jetstream().key_value(subjects.POLICY_BUCKET)
    for broken in (b"not a document", _document("rules: [", "x"), _document(NO_CHAT, "not its version")):
        await bucket.put(subjects.POLICY_KEY, broken)
    for copy in copies:
        await until(lambda copy=copy: _refused(copy, 3))
        assert await copy.in_force() == first.version
    assert (await gate.verdict(attempt())).decision is Decision.ALLOW

    second = await apply(admin, NO_CHAT, "test")
    for copy in copies:
        await until(lambda copy=copy: _runs(copy, second.version))
    verdicts = [await gate.verdict(attempt()) for _ in range(8)]
    assert {(each.decision, each.reason, each.policy_version) for each in verdicts} == {
        (Decision.DENY, "not today", second.version)
    }


async def test_a_copy_that_starts_after_a_broken_version_takes_the_last_good_one(bus: Bus, start: Start) -> None:
    admin = await bus.connect("admin")
    good = await apply(admin, CHAT, "test")
    bucket = await admin.jetstream().key_value(subjects.POLICY_BUCKET)
    await bucket.put(subjects.POLICY_KEY, b"broken")
    assert await (await start()).in_force() == good.version


async def test_deleting_the_policy_denies(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    await apply(admin, CHAT, "test")
    copy = await start()
    await (await admin.jetstream().key_value(subjects.POLICY_BUCKET)).delete(subjects.POLICY_KEY)
    await until(lambda: _runs(copy, None))
    assert (await gate.verdict(attempt())).decision is Decision.DENY


async def test_the_question_is_stored_before_the_hold_is_said(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    await apply(admin, ASK, "test")
    await start()
    made = attempt(statement="select 1")
    verdict = await gate.verdict(made)
    assert verdict.decision is Decision.HOLD
    stored = await admin.jetstream().get_last_msg(subjects.AUDIT_STREAM, f"cs.approval.requested.{verdict.approval_id}")
    question = ApprovalRequested.model_validate_json(stored.data or b"")
    assert (question.operation_id, question.operation, question.terms) == (
        made.operation_id,
        made.operation,
        verdict.terms,
    )
    verdicts = await until(lambda: gate.verdicts[made.operation_id])
    assert len(verdicts) == 1


async def test_a_presented_approval_is_handed_back_without_a_new_question(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    await apply(admin, ASK, "test")
    await start()
    presented = new_id()
    verdict = await gate.verdict(attempt(approval_id=presented))
    assert (verdict.decision, verdict.approval_id) == (Decision.HOLD, presented)
    info = await admin.jetstream().stream_info(subjects.AUDIT_STREAM, subjects_filter=subjects.APPROVALS_REQUESTED)
    assert not info.state.subjects


async def test_grants_come_go_and_run_out(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    policy = await apply(admin, ASK, "test")
    await start()
    grants = await admin.jetstream().key_value(subjects.GRANTS_BUCKET)
    grant = _grant(policy.version)

    async def decision() -> Decision:
        return (await gate.verdict(attempt(at=utc_now()))).decision

    assert await decision() is Decision.HOLD
    await grants.put(grant.grant_id, grant.model_dump_json().encode())
    await until(lambda: _is(decision, Decision.ALLOW))
    verdict = await gate.verdict(attempt(at=utc_now()))
    assert (verdict.certificate, verdict.approved_by) == ("certificate", ("boss@example.com",))
    assert (await gate.verdict(attempt(at=utc_now() + timedelta(hours=2)))).decision is Decision.HOLD
    await grants.delete(grant.grant_id)
    await until(lambda: _is(decision, Decision.HOLD))


async def test_malformed_attempts_get_no_verdict_and_stop_nothing(bus: Bus, start: Start, gate: Gate) -> None:
    await apply(await bus.connect("admin"), CHAT, "test")
    copy = await start()
    for junk in (b"", b"{}", b"\xff\xfe", b"[" * 100_000):
        await gate.client.publish("cs.attempt.http.openai", junk)
    assert (await gate.verdict(attempt())).decision is Decision.ALLOW
    assert "countersign_policy_malformed_attempts_total 4.0" in await copy.page("/-/metrics")
    assert len(gate.verdicts) == 1


async def test_a_restart_of_nats_is_survived_and_what_changed_is_read(bus: Bus, start: Start, gate: Gate) -> None:
    admin = await bus.connect("admin")
    await apply(admin, CHAT, "test")
    copy = await start()
    assert (await gate.verdict(attempt())).decision is Decision.ALLOW
    await bus.server.kill()
    await until(lambda: _unready(copy))
    await bus.server.start()
    await until(lambda: admin.is_connected and gate.client.is_connected)
    second = await apply(admin, NO_CHAT, "test")
    await until(lambda: _runs(copy, second.version))
    await until(copy.ready)
    assert (await gate.verdict(attempt())).decision is Decision.DENY


async def test_kill_9_of_one_of_two_copies_leaves_the_other_answering(bus: Bus, start: Start, gate: Gate) -> None:
    await apply(await bus.connect("admin"), CHAT, "test")
    victim, _ = await start(), await start()
    assert (await gate.verdict(attempt())).decision is Decision.ALLOW
    await victim.kill()

    async def noticed() -> bool:
        """Until the bus has read the end of its connection the dead copy still gets its share of the attempts."""
        try:
            return bool([await gate.verdict(attempt(), timeout=5) for _ in range(10)])
        except TimeoutError:
            return False

    await until(noticed)
    answered = [await gate.verdict(attempt()) for _ in range(20)]
    assert {each.decision for each in answered} == {Decision.ALLOW}


async def test_sigterm_drains_and_exits_clean(bus: Bus, start: Start) -> None:
    await apply(await bus.connect("admin"), CHAT, "test")
    assert await (await start()).stop() == 0


def _document(text: str, version: str) -> bytes:
    return PolicyDocument(version=version, text=text, applied_at=utc_now()).model_dump_json().encode()


def _grant(version: str) -> Grant:
    return Grant(
        grant_id=new_id(),
        approval_id=new_id(),
        issuer="https://idp.example.com",
        subject="agent-7",
        rule="ask",
        connector="openai",
        policy_version=version,
        approved_by="boss@example.com",
        expires_at=utc_now() + timedelta(hours=1),
        certificate="certificate",
    )


async def _runs(copy: Copy, version: str | None) -> bool:
    return await copy.in_force() == version


async def _refused(copy: Copy, times: int) -> bool:
    return f"countersign_policy_refused_documents_total {times}.0" in await copy.page("/-/metrics")


async def _unready(copy: Copy) -> bool:
    return not await copy.ready()


async def _is(decision: Callable[[], Awaitable[Decision]], expected: Decision) -> bool:
    return await decision() is expected
