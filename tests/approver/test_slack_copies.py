"""Several copies, one of which dies or loses the bus while it keeps Slack: one message all the same."""

import asyncio

import pytest
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from examples.slack_standin import SlackStandin
from schemas import subjects
from services.approver.__main__ import Approver
from services.approver.slack import channel, courier, lease
from services.approver.slack.blocks import APPROVE
from services.approver.slack.mirror import Mirror
from services.approver.slack.sheet import PREFIX, SHEETS, Sheet
from services.runtime.tasks import TaskGroup, end
from tests.approver.builders import question
from tests.approver.conftest import PATIENT, World
from tests.approver.test_slack import CHANNEL, by_socket
from tests.conftest import Bus, until


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of leases, shrunk; their order stays."""
    monkeypatch.setattr(courier, "TIMEOUT", 0.8)
    monkeypatch.setattr(lease, "LASTS", 2.0)
    monkeypatch.setattr(lease, "RENEW", 0.3)
    monkeypatch.setattr(lease, "TAKEOVER", 2.5)


@pytest.mark.usefixtures("short_leases")
async def test_a_copy_that_loses_the_bus_but_not_slack_does_not_post_what_another_posts(world: World) -> None:
    async with SlackStandin(limits=PATIENT) as slack:
        first = await world.approver(by_socket(slack))
        await slack.outage("503")
        asked = await world.ask(question())
        await until(lambda: _serves(first))
        await world.approver(by_socket(slack))
        await first.client.close()  # the bus is gone for it; Slack is not
        await slack.recover()
        await slack.wait_for_message(CHANNEL, lambda found: asked.approval_id in str(found.blocks), 60)
        late = await world.ask(question(statement="SELECT 1"))
        await slack.wait_for_message(CHANNEL, lambda found: late.approval_id in str(found.blocks), 60)
        assert slack.twice() == []
        assert len(slack.messages(CHANNEL)) == 2


def _serves(running: Approver) -> bool:
    """Whether it works on a lane, or stands by for one."""
    [slack] = running.desk.channels
    assert isinstance(slack, channel.SlackChannel)
    return bool(slack._serving)


@pytest.mark.usefixtures("short_leases")
async def test_a_lane_is_taken_over_from_a_copy_that_died_in_the_middle_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SlackStandin(limits=PATIENT) as slack:
        first = await world.approver(by_socket(slack))
        slack.faults.lose_answers(100, method="chat.postMessage")  # posted, but nobody learns of it
        asked = await world.ask(question())
        await slack.wait_for_message(CHANNEL, lambda found: asked.approval_id in str(found.blocks))
        [dying] = first.desk.channels
        monkeypatch.setattr(lease.Hold, "release", lambda hold: asyncio.sleep(0))  # as after kill -9
        await dying.stop()
        monkeypatch.undo()
        monkeypatch.setattr(lease, "TAKEOVER", 2.5)
        slack.faults.clear()
        await world.approver(by_socket(slack))
        reply = await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
        assert reply.status == 200
        [message] = slack.messages(CHANNEL)
        await until(lambda: "✅ Approved" in message.text, 60)
        assert slack.twice() == []


async def test_a_question_whose_note_is_lost_is_asked_again(world: World) -> None:
    async with SlackStandin(limits=PATIENT) as slack:
        await world.approver(by_socket(slack))
        asked = await world.ask(question())
        await slack.wait_for_message(CHANNEL)
        bucket = await (await world.bus.connect("approver")).jetstream().key_value(subjects.DELIVERIES_BUCKET)
        await until(lambda: _shown(bucket, asked.approval_id))
        await bucket.purge(f"{SHEETS}{asked.approval_id}")
        await until(lambda: len(slack.messages(CHANNEL)) == 2)
        await slack.click("alice", slack.messages(CHANNEL)[0].ts, APPROVE)
        await world.until_state(asked.approval_id, "approved")


async def _shown(bucket: KeyValue, sheet_id: str) -> bool:
    try:
        entry = await bucket.get(f"{SHEETS}{sheet_id}")
    except KeyNotFoundError:
        return False
    return Sheet.model_validate_json(entry.value or b"").upto > 0


async def test_what_is_written_while_a_watch_begins_is_not_taken_for_gone(bus: Bus) -> None:
    client = await bus.connect("approver")
    bucket = await client.jetstream().key_value(subjects.DELIVERIES_BUCKET)
    old = await bucket.put(f"{PREFIX}old", b"1")
    changes: list[tuple[str, bool]] = []
    mirror: Mirror[bytes] = Mirror(
        client, bucket, f"{PREFIX}>", lambda _, value: value, lambda key, seen: changes.append((key, seen is not None))
    )
    mirror.wrote(f"{PREFIX}stale", old, b"1")
    tasks = TaskGroup("test")
    following = tasks.start(mirror.run(), "mirror")
    try:
        await asyncio.sleep(0)  # it has begun; now we write what its snapshot does not hold
        mirror.wrote(f"{PREFIX}mine", old + 100, b"2")
        await mirror.until(lambda: mirror.current)
        assert set(mirror.entries) == {f"{PREFIX}old", f"{PREFIX}mine"}
        assert (f"{PREFIX}stale", False) in changes
    finally:
        await end(following)
