"""The control surface, the page, and the command, as another process uses them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import Message, SlackStandin
from tests.slack_standin.conftest import CHANNEL, Socket, actions, modal


@pytest.fixture
async def session(standin: SlackStandin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(standin.viewer_url) as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, action: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with session.post(f"standin/{action}", json=body) as answer:
        return answer.status, await answer.json()


async def test_wait_click_and_read_back(session: aiohttp.ClientSession, web: AsyncWebClient, socket: Socket):
    async with socket() as app:
        (status, message), _, _ = await asyncio.gather(
            ask(session, "wait", channel="#agent-approvals", action_id="approve"),
            web.chat_postMessage(channel=CHANNEL, text="Good morning"),
            web.chat_postMessage(channel=CHANNEL, text="May I?", blocks=[actions()]),
        )
        assert (status, message["text"]) == (200, "May I?")
        status, outcome = await ask(session, "click", user="bob", message_ts=message["ts"], action_id="approve")
        assert (status, outcome["state"]) == (200, "acked")
        assert (await app.next()).payload["user"]["username"] == "bob"
    async with session.get("standin/state") as answer:
        state = await answer.json()
    assert {message["text"] for message in state["messages"]} == {"Good morning", "May I?"}
    assert state["calls"]["chat.postMessage"] == 2


async def test_a_form_over_http(
    session: aiohttp.ClientSession, web: AsyncWebClient, socket: Socket, standin: SlackStandin, question: Message
):
    async with socket() as app:
        await ask(session, "click", user="bob", message_ts=question.ts, action_id="deny")
        await web.views_open(trigger_id=(await app.next()).payload["trigger_id"], view=modal(notify_on_close=True))
        view = await standin.wait_for_view("bob")
        assert (await ask(session, "submit", user="bob", view_id=view.id, values={}))[0] == 409
        _, outcome = await ask(session, "submit", user="bob", view_id=view.id, values={"reason": "no"})
        assert outcome["state"] == "acked"
        await ask(session, "click", user="bob", message_ts=question.ts, action_id="deny")
        await app.next()
        await web.views_open(trigger_id=(await app.next()).payload["trigger_id"], view=modal(notify_on_close=True))
        view = await standin.wait_for_view("bob")
        await ask(session, "close", user="bob", view_id=view.id)
        assert (await app.next()).payload["type"] == "view_closed"


async def test_state_waits_for_news(session: aiohttp.ClientSession, web: AsyncWebClient, standin: SlackStandin):
    params = {"after": str(standin.workspace.revision), "wait": "20"}
    answer, _ = await asyncio.gather(
        session.get("standin/state", params=params), web.chat_postMessage(channel=CHANNEL, text="news")
    )
    async with answer:
        assert (await answer.json())["messages"][0]["text"] == "news"


async def test_faults_over_http(session: aiohttp.ClientSession, standin: SlackStandin):
    await ask(session, "fault", outage="refused", rate_limit={"calls": 2, "retry_after": 9}, lose_answers=1)
    async with aiohttp.ClientSession() as other:
        with pytest.raises(aiohttp.ClientConnectionError):
            await other.post(f"{standin.api_url}api.test")
    assert (await ask(session, "fault", recover=True))[0] == 200
    assert standin.faults.rate_limit.left == 0
    for name in ("drop_sockets", "disconnect", "fail", "forge_signatures"):
        assert (await ask(session, "fault", **{name: 1}))[0] == 200


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("click", {"user": "alice", "message_ts": "1.0", "action_id": "approve"}, 409),
        ("click", {"user": "nobody", "message_ts": "1.0", "action_id": "approve"}, 409),
        ("click", {"user": "alice", "colour": "red"}, 409),
        ("wait", {"channel": "C404"}, 409),
        ("wait", {"channel": CHANNEL, "timeout": 0}, 408),
        ("fault", {"earthquake": True}, 409),
    ],
)
async def test_what_cannot_be_done_is_said(
    session: aiohttp.ClientSession, action: str, body: dict[str, Any], status: int
):
    answered, problem = await ask(session, action, **body)
    assert (answered, list(problem)) == (status, ["error"])


async def test_a_form_on_some_other_page_cannot_click(session: aiohttp.ClientSession):
    async with session.post("standin/fault", data='{"outage": "503"}') as plain_text:
        assert plain_text.status == 415


async def test_the_page_is_whole_in_itself(session: aiohttp.ClientSession, web: AsyncWebClient, question: Message):
    link = (await web.chat_getPermalink(channel=CHANNEL, message_ts=question.ts))["permalink"]
    async with session.get("/") as page, session.get(link) as linked:
        html = await page.text()
        assert page.content_type == "text/html"
        assert await linked.text() == html
    assert "http://" not in html
    assert "innerHTML" not in html


async def test_files_can_be_read_on_the_page(session: aiohttp.ClientSession, web: AsyncWebClient):
    sent = await web.files_upload_v2(filename="s.sql", content="SELECT 1", channel=CHANNEL)
    async with session.get(f"/files/{sent['file']['id']}") as answer:
        assert (answer.content_type, await answer.text()) == ("text/plain", "SELECT 1")
    async with session.get("/files/F404") as missing:
        assert missing.status == 404


async def test_the_command_prints_where_it_listens():
    command = (
        sys.executable,
        "-m",
        "examples.slack_standin",
        "--json",
        "--user",
        "eve=eve@example.com",
        "--channel",
        "#ops",
    )
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    addresses = json.loads(await process.stdout.readline())
    web = AsyncWebClient(addresses["bot_token"], base_url=addresses["api_url"])
    assert (await web.users_lookupByEmail(email="eve@example.com"))["user"]["id"] == "U0EVE"
    assert (await web.chat_postMessage(channel="#ops", text="x"))["channel"] == "C0OPS"
    process.terminate()
    assert await process.wait() == 0
