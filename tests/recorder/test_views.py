"""The auditor's views (architecture, section 8): names, columns, and one row per operation in any case."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.base import new_id, utc_now
from schemas.events import (
    ApprovalResolved,
    ApprovalState,
    ApprovalWithdrawn,
    OperationAttempted,
    Outcome,
    Refusal,
)
from schemas.verdicts import Decision
from tests.recorder import events as e
from tests.recorder.recording import Moody, database, record

pytestmark = pytest.mark.usefixtures("open_engine")

OPERATIONS = (
    "operation_id, session_id, started_at, finished_at, subject, email, groups, issuer, kind, connector, protocol, "
    "action, resources, statement, findings, decision, rules, reason, policy_version, approval_id, approved_by, "
    "outcome, status, masked, request_bytes, response_bytes, rows, decided_ms, total_ms, ingress"
)
APPROVALS = "approval_id, operation_id, state, requested_at, resolved_at, subject, decided_by, reason, quorum"
FRAMES = "session_id, seq, at, direction, data, operation_id, media_type, truncated"


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


async def operation(store: Moody, of: OperationAttempted) -> dict[str, Any]:
    """Its one row."""
    (row,) = await store.query("SELECT * FROM operations WHERE operation_id = {id:String}", {"id": of.operation_id})
    return row


@pytest.mark.parametrize(
    ("view", "columns"), [("operations", OPERATIONS), ("approvals", APPROVALS), ("frames", FRAMES)]
)
async def test_names_and_columns_are_fixed(store: Moody, view: str, columns: str) -> None:
    described = await store.query(f"DESCRIBE TABLE {view}")
    assert ", ".join(column["name"] for column in described) == columns
    types = {column["name"]: column["type"] for column in described}
    assert types.get("groups", "Array(String)") in ("Array(String)", "Array(LowCardinality(String))")


async def test_a_forwarded_operation_tells_its_whole_story(store: Moody) -> None:
    tried = e.attempt()
    await record(store, [tried, e.verdict(tried), e.outcome(tried)])
    row = await operation(store, tried)
    assert (row["subject"], row["groups"], row["action"]) == ("agent-7", ["agents", "ml"], "llm.chat")
    assert (row["decision"], row["rules"], row["outcome"]) == ("allow", ["agents-may-chat"], "forwarded")
    assert (row["status"], row["masked"], row["findings"]) == ("200", {"response.EMAIL": 3}, {"EMAIL": 2})
    assert row["finished_at"] is not None
    assert abs(row["started_at"].timestamp() - tried.at.timestamp()) < 1


async def test_an_open_operation_shows_the_last_verdict(store: Moody) -> None:
    tried = e.attempt()
    held = e.verdict(tried, Decision.HOLD, reason="a person must look", approval_id=new_id())
    await record(store, [tried, held])
    row = await operation(store, tried)
    assert (row["decision"], row["reason"], row["outcome"]) == ("hold", "a person must look", "")
    assert row["finished_at"] is None
    await record(store, [e.verdict(tried, by="approver", approved_by=("dana@example.com",))])
    row = await operation(store, tried)
    assert (row["decision"], row["approved_by"]) == ("allow", ["dana@example.com"])


async def test_an_attempt_without_anything_is_there(store: Moody) -> None:
    tried = e.attempt()
    await record(store, [tried])
    row = await operation(store, tried)
    assert (row["decision"], row["outcome"], row["rules"]) == ("", "", [])


async def test_a_presumed_outcome_closes_and_a_real_one_overrules_it(store: Moody) -> None:
    tried = e.attempt()
    presumed = e.outcome(
        tried, outcome=Outcome.UNKNOWN, ingress_seq=None, decision="", rules=(), policy_version="", error="gone"
    )
    await record(store, [tried, e.verdict(tried), presumed])
    row = await operation(store, tried)
    assert (row["outcome"], row["decision"], row["rules"]) == ("unknown", "allow", ["agents-may-chat"])
    assert row["reason"] == "gone"
    assert row["finished_at"] is not None
    await record(store, [e.outcome(tried, seq=9)])
    assert (await operation(store, tried))["outcome"] == "forwarded"


async def test_a_real_outcome_without_a_decision_overrules_a_presumed_one_too(store: Moody) -> None:
    tried = e.attempt()
    presumed = e.outcome(tried, outcome=Outcome.UNKNOWN, ingress_seq=None, decision="")
    real = e.outcome(tried, outcome=Outcome.FAILED, decision="", rules=(), error="policy is silent")
    await record(store, [tried, presumed, real])
    row = await operation(store, tried)
    assert (row["outcome"], row["reason"]) == ("failed", "policy is silent")


async def test_a_refused_request_is_an_operation_without_an_attempt(store: Moody) -> None:
    like = e.attempt()
    refusal = Refusal(code="unauthenticated", connector="openai", action="http.post", statement="POST /v1/chat")
    refused = e.outcome(
        like, connector="-", outcome=Outcome.DENIED, decision="deny", rules=(), status="401", refusal=refusal
    )
    await record(store, [refused])
    row = await operation(store, like)
    assert (row["subject"], row["action"], row["connector"]) == ("", "http.post", "openai")
    assert (row["statement"], row["outcome"], row["status"]) == ("POST /v1/chat", "denied", "401")
    assert row["reason"] == "unauthenticated"


async def test_filters_find_the_same_rows_on_either_side_of_the_joins(store: Moody) -> None:
    story = list(e.stories(30))
    await record(store, story)
    (start,) = await store.query("SELECT min(started_at) AS at, count() AS n FROM operations")
    assert start["n"] == 30
    for condition in (
        "subject = 'agent-7'",
        "outcome = 'forwarded'",
        "started_at >= now() - INTERVAL 1 HOUR",
        f"session_id IN ({', '.join(repr(event.session_id) for event in story)})",
    ):
        assert await store.count(f"operations WHERE {condition}") == 30, condition
    assert await store.count("operations WHERE started_at < now() - INTERVAL 1 HOUR") == 0


async def test_approvals_from_question_to_answer(store: Moody) -> None:
    tried = e.attempt()
    asked = [e.approval_request(tried) for _ in range(4)]
    approved = ApprovalResolved(
        ingress=tried.ingress,
        session_id=tried.session_id,
        approval_id=asked[1].approval_id,
        operation_id=tried.operation_id,
        state=ApprovalState.APPROVED,
        decided_by=("dana@example.com", "eli@example.com"),
        reason="looks fine",
    )
    withdrawn = ApprovalWithdrawn(
        ingress=tried.ingress,
        session_id=tried.session_id,
        approval_id=asked[2].approval_id,
        operation_id=tried.operation_id,
        reason="the caller went away",
    )
    late = approved.model_copy(
        update={"event_id": new_id(), "state": ApprovalState.DENIED, "at": utc_now() + timedelta(seconds=5)}
    )
    await record(store, [*asked, approved, withdrawn, late])
    rows = {row["approval_id"]: row for row in await store.query("SELECT * FROM approvals")}
    assert len(rows) == 4
    states = [rows[question.approval_id]["state"] for question in asked]
    assert states == ["requested", "approved", "withdrawn", "requested"]
    row = rows[asked[1].approval_id]
    assert (row["decided_by"], row["quorum"]) == (["dana@example.com", "eli@example.com"], 2)
    assert rows[asked[0].approval_id]["resolved_at"] is None
    assert rows[asked[2].approval_id]["reason"] == "the caller went away"


async def test_sessions_with_and_without_an_end(store: Moody) -> None:
    opened, closed = e.session()
    still_open, _ = e.session()
    tried = e.attempt(session_id=opened.session_id)
    await record(store, [opened, still_open, tried, closed])
    rows = {row["session_id"]: row for row in await store.query("SELECT * FROM sessions")}
    row = rows[opened.session_id]
    assert (row["subject"], row["connectors"], row["operations"], row["reason"]) == ("agent-7", ["openai"], 1, "eof")
    assert row["finished_at"] is not None
    assert rows[still_open.session_id]["finished_at"] is None


async def test_frames_give_back_what_was_recorded(store: Moody) -> None:
    text = e.frame(1, 'line "one"\n\u00e9\U0001f600\x1b[31m', media_type="text/plain")
    binary = e.frame(2, "AP/+gA==", encoding="base64", session_id=text.session_id, truncated=True, direction="response")
    await record(store, [text, binary])
    rows = await store.query("SELECT seq, direction, hex(data) AS data, media_type, truncated FROM frames ORDER BY seq")
    assert bytes.fromhex(rows[0]["data"]).decode() == text.data
    assert bytes.fromhex(rows[1]["data"]) == b"\x00\xff\xfe\x80"
    assert [(row["direction"], row["truncated"]) for row in rows] == [("request", False), ("response", True)]
