"""The whole flow by Slack: the real slack_sdk against the stand-in, by Socket Mode and by signed HTTP."""

from collections.abc import AsyncIterator

import pytest

from examples.slack_standin import Message, SlackStandin
from schemas.events import ApprovalRequested
from schemas.verdicts import Decision
from services.approver.__main__ import Approver
from services.approver.slack.blocks import APPROVE, DENY
from services.approver.slack.interactivity import PATH
from services.runtime.settings import Settings
from tests.approver.builders import question
from tests.approver.conftest import World, settings
from tests.conftest import until

CHANNEL = "C0APPROVE"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin() as standin:
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
    message = await slack.wait_for_message(CHANNEL, lambda found: request.approval_id in str(found.blocks))
    await until(lambda: _known(world, request.approval_id))
    return message


async def _known(world: World, approval_id: str) -> bool:
    record = await world.record(approval_id)
    return bool(record and record.message and record.message.ts)


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
