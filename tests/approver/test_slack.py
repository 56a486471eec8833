"""The whole flow by Slack: the real slack_sdk against the stand-in, by Socket Mode and by signed HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import ManualClock, Message, SlackStandin, User
from examples.slack_standin.http_post import sign
from schemas import subjects
from schemas.base import utc_now
from schemas.events import ApprovalRequested, ApprovalWithdrawn
from schemas.verdicts import Decision
from services.approver.__main__ import Approver
from services.approver.pending import Expire
from services.approver.record import asked as new_record
from services.approver.slack.blocks import APPROVE, DENY, GRANT
from services.approver.slack.blocks import message as message_of
from services.approver.slack.board import METADATA
from services.approver.slack.interactivity import PATH
from services.approver.slack.rendering import QUESTION
from services.approver.slack.sheet import Part, Sheet
from services.runtime.settings import Settings
from tests.approver.builders import AGENT, DBA, SECURITY, question
from tests.approver.conftest import PATIENT, World, settings
from tests.conftest import until

CHANNEL = "C0APPROVE"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin(limits=PATIENT) as standin:
        yield standin


def by_socket(slack: SlackStandin) -> Settings:
    return settings(
        slack={
            "channel": "#agent-approvals",
            "bot_token": slack.bot_token,
            "app_token": slack.app_token,
            "api_url": slack.api_url,
        }
    )


def by_http(slack: SlackStandin) -> Settings:
    return settings(
        slack={
            "channel": "#agent-approvals",
            "bot_token": slack.bot_token,
            "signing_secret": slack.signing_secret,
            "api_url": slack.api_url,
        }
    )


async def start(world: World, slack: SlackStandin, via: str) -> Approver:
    if via == "socket":
        approver = await world.approver(by_socket(slack))
        await slack.wait_for_sockets()
        return approver
    approver = await world.approver(by_http(slack))
    slack.http.url = f"http://{approver.context.listening['approver']}{PATH}"
    return approver


async def posted(world: World, slack: SlackStandin, request: ApprovalRequested) -> Message:
    """The question as it stands in Slack, once the approver knows where."""
    await world.ask(request)
    return await slack.wait_for_message(
        CHANNEL, lambda found: request.approval_id in str(found.blocks) and not found.thread_ts
    )


def buttons(message: Message) -> list[str]:
    rows = [block["elements"] for block in message.blocks if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row]


@pytest.mark.parametrize("via", ["socket", "http"])
async def test_a_click_approves_and_the_message_says_who(world: World, slack: SlackStandin, via: str) -> None:
    await start(world, slack, via)
    asked = question()
    message = await posted(world, slack, asked)
    assert "DELETE FROM orders WHERE id = 7" in str(message.blocks)
    assert (await slack.click("alice", message.ts, APPROVE)).acked
    record = await world.until_state(asked.approval_id, "approved")
    assert record.approved_by[0].via == "slack"
    assert (await until(lambda: world.verdicts))[0].verdict.decision is Decision.ALLOW
    await until(lambda: buttons(message) == [])
    assert "alice@example.com" in str(message.blocks)
    assert len(slack.messages(CHANNEL)) == 1


@pytest.mark.parametrize("via", ["socket", "http"])
async def test_deny_asks_for_a_reason_and_passes_it_on(world: World, slack: SlackStandin, via: str) -> None:
    await start(world, slack, via)
    asked = question()
    message = await posted(world, slack, asked)
    assert (await slack.click("alice", message.ts, DENY)).acked
    view = await slack.wait_for_view("alice")
    assert (await slack.submit_view("alice", view.id, {"reason": "not on a Friday"})).acked
    assert not view.open
    assert (await world.until_state(asked.approval_id, "denied")).reason == "not on a Friday"
    assert "not on a Friday" in (await until(lambda: world.verdicts))[0].verdict.reason
    await until(lambda: buttons(message) == [])


async def test_progress_is_shown_and_a_second_person_completes_it(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question(DBA.model_copy(update={"quorum": 2}))
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, APPROVE)
    await until(lambda: "1 more of dba" in str(message.blocks))
    await slack.click("alice", message.ts, APPROVE)
    assert "already" in (await slack.wait_for_ephemeral("alice")).text
    await slack.click("bob", message.ts, APPROVE)
    await world.until_state(asked.approval_id, "approved")


async def test_a_grant_button_gives_a_grant_of_that_length(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, f"{GRANT}900")
    record = await world.until_state(asked.approval_id, "approved")
    assert record.grant_id
    await until(lambda: buttons(message) == [])
    until_then = int(record.history[-1].at.timestamp()) + 900
    assert f"Until <!date^{until_then}^" in str(message.blocks)
    assert "whatever the rule writes-need-a-person asks about from agent-7" in str(message.blocks)


async def test_two_people_click_at_two_copies_and_one_decision_stands(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    await world.approver(by_socket(slack))
    await slack.wait_for_sockets(2)
    asked = question()
    message = await posted(world, slack, asked)
    await asyncio.gather(*(slack.click(user, message.ts, APPROVE) for user in ("alice", "bob")))
    record = await world.until_state(asked.approval_id, "approved")
    assert len(record.approved_by) == 1
    late = {"alice@example.com": "bob", "bob@example.com": "alice"}[record.decided_by]
    assert record.decided_by in (await slack.wait_for_ephemeral(late)).text
    await until(lambda: buttons(message) == [])
    assert len(slack.messages(CHANNEL)) == 1
    assert len(await until(world.resolutions)) == 1


async def test_a_late_click_on_a_screen_not_yet_redrawn_is_told_so(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, APPROVE)
    await until(lambda: buttons(message) == [])
    assert (await slack.click("bob", message.ts, DENY, revision=0)).acked
    assert "approved by alice@example.com" in (await slack.wait_for_ephemeral("bob")).text
    assert slack.views == []


async def test_a_denial_that_comes_too_late_is_explained_in_the_form(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    await slack.click("bob", message.ts, DENY)
    view = await slack.wait_for_view("bob")
    await slack.click("alice", message.ts, APPROVE)
    await slack.submit_view("bob", view.id, {"reason": "no"})
    assert "approved by alice@example.com" in str(view.blocks)
    assert (await world.record(asked.approval_id)).state == "approved"


STRANGERS = [
    (User("U1", "carol", "carol@example.com"), "not among the people"),
    (User("U1", "alice2", "alice@example.com", is_email_confirmed=False), "does not confirm"),
    (User("U1", "alice2", "alice@example.com", team_id="T0OTHER"), "another workspace"),
    (User("U1", "alice2", "alice@example.com", is_bot=True), "bots cannot"),
    (User("U1", "alice2", "alice@example.com", deleted=True), "deactivated"),
    (User("U1", "nobody", None), "does not confirm"),
]


@pytest.mark.parametrize(("user", "words"), STRANGERS, ids=[words for _, words in STRANGERS])
async def test_who_cannot_be_told_apart_gets_an_explanation_not_an_approval(
    world: World, user: User, words: str
) -> None:
    async with SlackStandin(limits=PATIENT, users=[user]) as slack:
        await start(world, slack, "socket")
        asked = question()
        message = await posted(world, slack, asked)
        await slack.click("U1", message.ts, APPROVE)
        assert words in (await slack.wait_for_ephemeral("U1")).text
        assert (await world.record(asked.approval_id)).state == "requested"


async def test_members_of_other_groups_and_requesters_cannot_decide(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    security = await posted(world, slack, question(SECURITY))
    await slack.click("alice", security.ts, APPROVE)
    assert "Only members of security" in (await slack.wait_for_ephemeral("alice")).text
    own = await posted(world, slack, question(identity=AGENT.model_copy(update={"email": "Bob@Example.com"})))
    await slack.click("bob", own.ts, APPROVE)
    assert "your own operation" in (await slack.wait_for_ephemeral("bob")).text


async def test_a_redelivered_envelope_decides_nothing_twice(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question(DBA.model_copy(update={"quorum": 2}))
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, APPROVE)
    await (slack.redeliver()).settled()
    assert (await world.record(asked.approval_id)).state == "partly_approved"


async def test_a_forged_signature_and_a_replay_are_refused(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "http")
    asked = question(DBA.model_copy(update={"quorum": 2}))
    message = await posted(world, slack, asked)
    slack.faults.forge_signatures()
    assert (await slack.click("alice", message.ts, APPROVE)).status == 401
    assert (await world.record(asked.approval_id)).state == "requested"
    assert (await slack.click("alice", message.ts, APPROVE)).acked
    assert await slack.replay() == 401
    assert (await world.record(asked.approval_id)).state == "partly_approved"


async def test_an_old_timestamp_is_refused(world: World) -> None:
    clock = ManualClock(time.time() - 301)
    async with SlackStandin(limits=PATIENT, clock=clock) as slack:
        await start(world, slack, "http")
        message = await posted(world, slack, question())
        assert (await slack.click("alice", message.ts, APPROVE)).status == 401


@pytest.mark.parametrize("body", [b"", b"payload=", b"payload=[]", b"payload={}", b"\xff", b"x" * 300_000])
async def test_signed_nonsense_changes_nothing(world: World, slack: SlackStandin, body: bytes) -> None:
    await start(world, slack, "http")
    assert slack.http.url
    stamp = int(time.time())
    headers = {
        "X-Slack-Request-Timestamp": str(stamp),
        "X-Slack-Signature": sign(slack.signing_secret, stamp, body),
    }
    async with aiohttp.ClientSession() as session, session.post(slack.http.url, data=body, headers=headers) as reply:
        assert reply.status in (200, 400, 401, 413)


async def test_a_body_that_never_comes_is_not_waited_for(
    world: World, slack: SlackStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its signature is checked, anybody may have sent it."""
    monkeypatch.setattr("services.approver.slack.interactivity.READ", 0.2)
    approver = await start(world, slack, "http")
    host, _, port = str(approver.context.listening["approver"]).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
    async with asyncio.timeout(60):
        assert b" 408 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("method", ["lose_answers", "fail_next", "rate_limit_next"])
async def test_trouble_while_posting_ends_in_one_message(world: World, slack: SlackStandin, method: str) -> None:
    getattr(slack.faults, method)(1, method="chat.postMessage")
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    assert len(slack.messages(CHANNEL)) == 1
    await slack.click("alice", message.ts, APPROVE)
    await world.until_state(asked.approval_id, "approved")


async def test_a_copy_killed_between_post_and_store_does_not_post_twice(world: World, slack: SlackStandin) -> None:
    asked = question()
    text, blocks = message_of(new_record(asked))
    web = AsyncWebClient(slack.bot_token, base_url=slack.api_url)
    payload = {"event_type": METADATA, "event_payload": {"sheet_id": asked.approval_id, "part": QUESTION}}
    posted_before = await web.chat_postMessage(channel=CHANNEL, text=text, blocks=blocks, metadata=payload)
    bucket = await (await world.bus.connect("approver")).jetstream().key_value(subjects.DELIVERIES_BUCKET)
    sheet = Sheet(
        sheet_id=asked.approval_id,
        lane="#agent-approvals",
        members=(asked.approval_id,),
        opened_at=asked.at,
        parts={QUESTION: Part(channel="#agent-approvals")},
    )
    await bucket.create(sheet.key, sheet.model_dump_json().encode())
    await start(world, slack, "socket")
    message = await posted(world, slack, asked)
    assert message.ts == posted_before["ts"]
    assert len(slack.messages(CHANNEL)) == 1


async def test_in_an_outage_the_question_waits_and_the_api_still_decides(world: World, slack: SlackStandin) -> None:
    await slack.outage("503")
    await world.approver(by_socket(slack))
    kept, decided = await world.ask(question()), await world.ask(question())
    for asked in (kept, decided):
        await world.until_state(asked.approval_id, "requested")
    reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=decided.approval_id)
    assert reply.status == 200
    await slack.recover()
    await slack.wait_for_message(CHANNEL, lambda found: kept.approval_id in str(found.blocks))
    # An attempt under way when Slack came back may have posted it; then it comes to show the decision.
    if any(decided.approval_id in str(found.blocks) for found in slack.messages(CHANNEL)):
        await slack.wait_for_message(
            CHANNEL, lambda found: decided.approval_id in str(found.blocks) and not buttons(found)
        )
    assert (await world.record(kept.approval_id)).state == "requested"


async def test_a_question_that_expires_in_an_outage_never_opens(world: World, slack: SlackStandin) -> None:
    await slack.outage("refused")
    await world.approver(by_socket(slack))
    asked = await world.ask(question(expires=0.5))
    await world.until_state(asked.approval_id, "expired")
    assert (await until(lambda: world.verdicts))[0].verdict.decision is Decision.DENY


async def test_expiry_and_withdrawal_take_the_buttons_away(world: World, slack: SlackStandin) -> None:
    approver = await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    approver.desk.clock = lambda: utc_now() + timedelta(hours=1)
    await approver.desk.decide(asked.approval_id, Expire())
    await until(lambda: buttons(message) == [])
    assert "Expired" in message.text
    approver.desk.clock = utc_now
    asked = question()
    message = await posted(world, slack, asked)
    event = ApprovalWithdrawn(
        ingress=asked.ingress,
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        reason="the caller disconnected",
    )
    await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())
    await until(lambda: buttons(message) == [])
    assert "the caller disconnected" in str(message.blocks)


async def test_a_rule_may_name_its_own_channel(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    asked = asked.model_copy(update={"terms": asked.terms.model_copy(update={"slack": "#db-approvals"})})
    await world.ask(asked)
    await slack.wait_for_message("C0DBA", lambda found: asked.approval_id in str(found.blocks))
    assert slack.messages(CHANNEL) == []


async def test_many_questions_at_once_are_each_posted_once_in_order(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = [question(statement=f"DELETE FROM {table}") for table in ("a", "b", "c", "d", "e", "f", "g")]
    for request in asked:
        await world.ask(request)
    await until(lambda: len(slack.messages(CHANNEL)) == 7)
    shown = [str(message.blocks) for message in slack.messages(CHANNEL)]
    assert [request.approval_id in text for request, text in zip(asked, shown, strict=True)] == [True] * 7
    assert slack.web_api.refused == {}
