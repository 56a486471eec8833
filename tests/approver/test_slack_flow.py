"""What calms and informs: requests gathered and reviewed, outcomes, direct messages, previews, escalation, glass."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from examples.slack_standin import Channel, Message, SlackStandin, User
from examples.slack_standin.server import CHANNELS, USERS
from schemas import subjects
from schemas.base import utc_now
from schemas.events import ApprovalPreviewed, ApprovalRequested, ApprovalUsed, Event, Outcome
from schemas.verdicts import Escalation
from services.approver.pending import BreakGlass, Spend, move
from services.approver.slack import gathered, review
from services.approver.slack.blocks import APPROVE, BREAK_GLASS, DENY
from services.approver.store import Approvals
from tests.approver.builders import AGENT, DBA, person, question
from tests.approver.conftest import PATIENT, World
from tests.approver.test_slack import CHANNEL, buttons, by_socket, posted, start
from tests.conftest import until

#: The asker's own account, and somebody whom a rule escalates to or who may break glass.
AGENTS_OWNER = User("U0AGENT", "agent", "agent@example.com")
MINE = "D0AGENT"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin(limits=PATIENT, users=[*USERS, AGENTS_OWNER]) as standin:
        yield standin


def deletes(count: int, start: int = 1) -> list[ApprovalRequested]:
    return [question(statement=f"DELETE FROM orders WHERE id = {start + number}") for number in range(count)]


async def gathered_in(world: World, slack: SlackStandin, asked: list[ApprovalRequested]) -> Message:
    """The one message that asks about all of them."""
    for request in asked:
        await world.ask(request)
    return await slack.wait_for_message(CHANNEL, lambda found: f"Approve all {len(asked)}" in str(found.blocks))


async def states(world: World, asked: list[ApprovalRequested]) -> list[str]:
    records = [await world.record(request.approval_id) for request in asked]
    return [str(record.state) for record in records if record]


async def publish(world: World, event: Event) -> None:
    await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())


async def direct(slack: SlackStandin) -> Message:
    """The message to the asker, whose channel is opened with it."""
    return await until(lambda: next((one for one in slack.workspace.log if one.channel == MINE), None))


async def test_requests_of_one_shape_are_one_message_and_one_click(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = deletes(5)
    message = await gathered_in(world, slack, asked)
    assert len(slack.messages(CHANNEL)) == 1
    assert (await slack.click("alice", message.ts, APPROVE)).acked
    records = [await world.until_state(request.approval_id, "approved") for request in asked]
    assert len({record.certificate for record in records}) == 5
    await until(lambda: buttons(message) == [] and "5 approved" in str(message.blocks))


async def test_approving_all_covers_those_that_were_on_the_screen(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    seen = deletes(3)
    message = await gathered_in(world, slack, seen)
    screen = len(message.history) - 1
    late = deletes(2, start=100)
    for request in late:
        await world.ask(request)
    await until(lambda: "Approve all 5" in str(message.blocks))
    assert (await slack.click("alice", message.ts, APPROVE, revision=screen)).acked
    for request in seen:
        await world.until_state(request.approval_id, "approved")
    assert await states(world, late) == ["requested", "requested"]
    await until(lambda: "Approve all 2" in str(message.blocks))


async def test_a_list_that_we_did_not_show_is_not_decided(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = deletes(2)
    message = await gathered_in(world, slack, asked)
    [row] = [block for block in message.blocks if block["type"] == "actions"]
    sheet_id, count, digest = row["elements"][0]["value"].split(":")
    for value in (f"{sheet_id}:{count}:{'0' * 32}", f"{sheet_id}:1:{digest}", f"{sheet_id}:99:{digest}"):
        row["elements"][0]["value"] = value
        told = len(slack.ephemerals)
        await slack.click("alice", message.ts, APPROVE, value)
        assert "not the one that you were shown" in (await slack.wait_for_ephemeral("alice", after=told)).text
    assert await states(world, asked) == ["requested", "requested"]


async def test_denying_all_asks_once_for_a_reason(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = deletes(3)
    message = await gathered_in(world, slack, asked)
    await slack.click("bob", message.ts, DENY)
    view = await slack.wait_for_view("bob")
    assert (await slack.submit_view("bob", view.id, {"reason": "not on a Friday"})).acked
    records = [await world.until_state(request.approval_id, "denied") for request in asked]
    assert {record.reason for record in records} == {"not on a Friday"}


@pytest.mark.parametrize("via", ["socket", "http"])
async def test_each_can_be_reviewed_and_decided_by_itself(world: World, slack: SlackStandin, via: str) -> None:
    await start(world, slack, via)
    asked = deletes(3)
    message = await gathered_in(world, slack, asked)
    assert (await slack.click("alice", message.ts, gathered.REVIEW)).acked
    form = await slack.wait_for_view("alice")
    assert (await slack.click_in_view("alice", form.id, review.APPROVE, asked[0].approval_id)).acked
    await world.until_state(asked[0].approval_id, "approved")
    await until(lambda: "✅ `alice@example.com`" in str(form.blocks))
    assert (await slack.click_in_view("alice", form.id, review.DENY, asked[1].approval_id)).acked
    reason = await slack.wait_for_view("alice")
    assert reason.below == form.id
    assert (await slack.submit_view("alice", reason.id, {"reason": "not that one"})).acked
    await world.until_state(asked[1].approval_id, "denied")
    await until(lambda: "⛔ `alice@example.com`" in str(form.blocks))
    assert await states(world, asked[2:]) == ["requested"]
    await until(lambda: "Approve the last one" in str(message.blocks))


async def test_a_refusal_in_the_form_is_told_in_the_form(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = [request.model_copy(update={"identity": AGENT.model_copy(update={"email": "bob@example.com"})})
             for request in deletes(2)]  # fmt: skip
    message = await gathered_in(world, slack, asked)
    await slack.click("bob", message.ts, gathered.REVIEW)
    form = await slack.wait_for_view("bob")
    await slack.click_in_view("bob", form.id, review.APPROVE, asked[0].approval_id)
    await until(lambda: "your own operation" in str(form.blocks))
    assert await states(world, asked) == ["requested", "requested"]


async def test_the_thread_tells_how_it_ended_and_the_asker_is_told(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, APPROVE)
    await world.until_state(asked.approval_id, "approved")
    mine = await direct(slack)
    assert "✅ Approved" in str(mine.blocks)
    bucket = await world.ingress.jetstream().key_value(subjects.APPROVALS_BUCKET)
    spend = Spend(asked.operation_id, asked.ingress)
    await Approvals(bucket).step(asked.approval_id, lambda record: move(record, spend, utc_now()))
    used = ApprovalUsed(
        ingress=asked.ingress,
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        outcome=Outcome.FORWARDED,
        status="DELETE 1238",
        rows=1238,
        total_ms=84,
    )
    await publish(world, used)
    reply = await slack.wait_for_message(CHANNEL, lambda found: found.thread_ts == message.ts)
    assert "1,238 rows, status `DELETE 1238`, 84 ms" in str(reply.blocks)
    await until(lambda: "1,238 rows" in str(mine.blocks))
    assert slack.twice() == []


async def test_an_asker_whom_slack_does_not_know_is_not_looked_for_again(world: World) -> None:
    async with SlackStandin(limits=PATIENT) as slack:
        await start(world, slack, "socket")
        for request in (question(), question(statement="SELECT 1")):
            message = await posted(world, slack, request)
            await slack.click("alice", message.ts, APPROVE)
            await until(lambda message=message: buttons(message) == [])
        await until(lambda: slack.calls.get("users.lookupByEmail"))
        assert slack.calls["users.lookupByEmail"] == 1
        assert len(slack.workspace.log) == 2


async def test_the_question_waits_for_the_blast_radius(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    asked = asked.model_copy(update={"terms": asked.terms.model_copy(update={"preview": "count"})})
    await world.ask(asked)
    await world.until_state(asked.approval_id, "requested")
    previewed = ApprovalPreviewed(
        ingress=asked.ingress,
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        estimated_rows=1240,
        counted_rows=1238,
    )
    await publish(world, previewed)
    message = await slack.wait_for_message(CHANNEL)
    shown = str(message.history[0].blocks)
    assert "the planner expects ~1,240 rows; counted: 1,238" in shown or "did not say in time" in shown
    await until(lambda: "counted: 1,238" in str(message.blocks))


async def test_without_a_blast_radius_the_question_is_asked_all_the_same(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    asked = asked.model_copy(update={"terms": asked.terms.model_copy(update={"preview": "estimate"})})
    message = await posted(world, slack, asked)
    assert "the database did not say in time" in str(message.blocks)


async def test_an_escalation_mentions_those_who_may_decide_as_well(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    rule = DBA.model_copy(update={"escalation": Escalation(after=1, to=("security",))})
    message = await posted(world, slack, question(rule))
    call = await slack.wait_for_message(CHANNEL, lambda found: found.thread_ts == message.ts)
    assert "@U0BOB" in call.references
    await until(lambda: "`security` asked as well" in str(message.blocks))


async def test_shortly_before_the_end_those_still_needed_are_mentioned(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    message = await posted(world, slack, question(now=utc_now() - timedelta(seconds=950), expires=1000))
    call = await slack.wait_for_message(CHANNEL, lambda found: found.thread_ts == message.ts)
    assert {"@U0ALICE", "@U0BOB"} <= set(call.references)
    await until(lambda: "⏰ Reminded" in str(message.blocks))


async def test_glass_is_broken_with_a_reason_and_a_loud_message(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    rule = DBA.model_copy(update={"quorum": 2, "break_glass": ("security",)})
    asked = question(rule)
    message = await posted(world, slack, asked)
    await slack.click("alice", message.ts, BREAK_GLASS)
    assert (await slack.wait_for_ephemeral("alice")).text
    await slack.click("bob", message.ts, BREAK_GLASS)
    view = await slack.wait_for_view("bob")
    with pytest.raises(ValueError, match="filled in"):
        await slack.submit_view("bob", view.id, {"reason": ""})
    assert (await slack.submit_view("bob", view.id, {"reason": "the site is down"})).acked
    record = await world.until_state(asked.approval_id, "approved")
    assert record.break_glass
    alarm = await slack.wait_for_message(CHANNEL, lambda found: "!channel" in found.references)
    assert "the site is down" in str(alarm.blocks)
    assert "bob@example.com" in str(alarm.blocks)
    assert alarm.thread_ts is None


async def test_glass_that_is_broken_before_anybody_was_asked_is_as_loud(world: World, slack: SlackStandin) -> None:
    """The message waits a few seconds for the blast radius; a decision by another way may come before it."""
    approver = await start(world, slack, "socket")
    rule = DBA.model_copy(update={"break_glass": ("security",)})
    asked = await world.ask(question(rule, terms={"preview": "estimate"}))
    await until(lambda: world.record(asked.approval_id))
    await approver.desk.decide(asked.approval_id, BreakGlass(person("bob", "security"), "the site is down"))
    alarm = await slack.wait_for_message(CHANNEL, lambda found: "!channel" in found.references)
    assert "the site is down" in str(alarm.blocks)
    assert len(slack.messages(CHANNEL)) == 1


async def test_what_slack_will_not_take_does_not_hold_up_other_channels(world: World) -> None:
    channels = [*CHANNELS[:1], Channel("C0DBA", "db-approvals", has_bot=False)]
    async with SlackStandin(limits=PATIENT, channels=channels) as slack:
        await start(world, slack, "socket")
        stuck = question()
        stuck = stuck.model_copy(update={"terms": stuck.terms.model_copy(update={"slack": "#db-approvals"})})
        await world.ask(stuck)
        await until(lambda: slack.calls.get("chat.postMessage"))
        await posted(world, slack, question())
        assert slack.messages("C0DBA") == []


async def test_a_removed_message_is_left_alone(world: World, slack: SlackStandin) -> None:
    await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    slack.workspace.delete(message)
    reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    assert reply.status == 200
    await direct(slack)
    await until(lambda: slack.calls.get("chat.update"))
    assert slack.messages(CHANNEL) == []


async def test_the_next_copy_goes_on_where_one_left_off(world: World, slack: SlackStandin) -> None:
    first = await start(world, slack, "socket")
    asked = question()
    message = await posted(world, slack, asked)
    for channel in first.desk.channels:
        await channel.stop()
    reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    assert reply.status == 200
    assert buttons(message)
    await world.approver(by_socket(slack))
    await until(lambda: buttons(message) == [])
    assert slack.twice() == []
