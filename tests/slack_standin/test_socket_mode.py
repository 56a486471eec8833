"""Socket Mode, driven by slack_sdk's own client."""

from contextlib import AsyncExitStack

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import Limits, ManualClock, Message, NotOnScreen, SlackStandin
from tests.slack_standin.conftest import CHANNEL, Socket, actions, button, connect, modal, section


async def test_a_click_reaches_the_app_and_its_ack_comes_back(standin: SlackStandin, socket: Socket, question: Message):
    async with socket() as app:
        delivery = await standin.click("alice", question.ts, "approve")
        payload = (await app.next()).payload
    assert delivery.acked
    assert delivery.attempts == 1
    assert payload["type"] == "block_actions"
    assert payload["user"]["id"] == "U0ALICE"
    assert payload["actions"][0] | {"action_ts": ""} == {
        "type": "button",
        "action_id": "approve",
        "value": "op-1",
        "text": {"type": "plain_text", "text": "Approve"},
        "block_id": question.blocks[1]["block_id"],
        "action_ts": "",
    }
    assert payload["container"] == {
        "type": "message", "message_ts": question.ts, "channel_id": CHANNEL, "is_ephemeral": False,
    }  # fmt: skip
    assert payload["message"]["text"] == "May I?"


async def test_a_form_opens_is_corrected_and_closes(
    standin: SlackStandin, socket: Socket, web: AsyncWebClient, question: Message
):
    async with socket() as app:
        await standin.click("bob", question.ts, "deny")
        await web.views_open(trigger_id=(await app.next()).payload["trigger_id"], view=modal(private_metadata="op-1"))
        view = await standin.wait_for_view("bob")
        app.answer = {"response_action": "errors", "errors": {"why": "be kinder"}}
        await standin.submit_view("bob", view.id, {"reason": "no"})
        submitted = (await app.next()).payload
        assert submitted["type"] == "view_submission"
        assert submitted["view"]["state"]["values"]["why"]["reason"]["value"] == "no"
        assert submitted["view"]["private_metadata"] == "op-1"
        assert view.open
        assert view.errors == {"why": "be kinder"}
        app.answer = None
        await standin.submit_view("bob", view.id, {"reason": "not today"})
    assert not view.open


async def test_an_unacked_envelope_is_sent_again_and_then_given_up(
    standin: SlackStandin, socket: Socket, question: Message, clock: ManualClock
):
    async with socket() as app:
        app.acks = False
        delivery = await standin.click("alice", question.ts, "approve", wait=False)
        seen = [await app.next()]
        for _ in range(3):
            clock.advance(3)
            seen.append(await app.next())
        clock.advance(3)
        assert (await delivery.settled()).reason == "timeout"
    assert [request.retry_attempt for request in seen] == [None, 1, 2, 3]
    assert {request.envelope_id for request in seen} == {delivery.id}


async def test_the_real_clock_repeats_too():
    async with SlackStandin(limits=Limits(ack_seconds=0.05)) as standin:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url)
        posted = await web.chat_postMessage(channel=CHANNEL, text="May I?", blocks=[actions(button())])
        async with connect(standin) as app:
            app.acks = False
            delivery = await standin.click("alice", posted["ts"], "approve", wait=False)
            await app.next()
            await app.ack(await app.next())
            await delivery.settled()
    assert delivery.acked
    assert delivery.attempts >= 2


async def test_an_ack_just_in_time_stops_the_repeats(
    standin: SlackStandin, socket: Socket, question: Message, clock: ManualClock
):
    async with socket() as app:
        app.acks = False
        delivery = await standin.click("alice", question.ts, "approve", wait=False)
        clock.advance(2.9)
        await app.ack(await app.next())
        await delivery.settled()
        clock.advance(60)
    assert delivery.acked
    assert delivery.attempts == 1


async def test_an_envelope_may_come_twice_although_it_was_acked(
    standin: SlackStandin, socket: Socket, question: Message
):
    async with socket() as app:
        await standin.click("alice", question.ts, "approve")
        first = await app.next()
        standin.redeliver()
        second = await app.next()
    assert (second.envelope_id, second.payload) == (first.envelope_id, first.payload)
    assert second.retry_attempt == 1


async def test_nothing_can_be_redelivered_to_nobody(standin: SlackStandin, question: Message):
    with pytest.raises(LookupError):
        standin.redeliver()
    await standin.click("alice", question.ts, "approve")
    with pytest.raises(LookupError):
        standin.redeliver()


async def test_each_of_several_connections_gets_its_share(standin: SlackStandin, socket: Socket, question: Message):
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(socket()) for _ in range(3)]
        for _ in range(6):
            await standin.click("alice", question.ts, "approve")
        assert [app.requests.qsize() for app in apps] == [2, 2, 2]


async def test_what_a_dying_connection_had_not_acked_goes_to_another(
    standin: SlackStandin, socket: Socket, question: Message
):
    async with socket(ping_interval=60) as first, socket(ping_interval=60) as second:
        first.acks = second.acks = False
        delivery = await standin.click("alice", question.ts, "approve", wait=False)
        carrier = standin.socket.carriers[delivery.id]
        holder, other = (first, second) if carrier is standin.socket.connections[0] else (second, first)
        await holder.next()
        other.acks = True
        carrier.cut()
        again = await other.next()
        await delivery.settled()
    assert again.retry_attempt == 1
    assert again.retry_reason == "connection_failed"


async def test_without_a_connection_the_click_fails_at_once(standin: SlackStandin, question: Message):
    delivery = await standin.click("alice", question.ts, "approve")
    assert (delivery.state, delivery.reason) == ("failed", "no_connection")


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_the_client_replaces_a_connection_that_is_announced_to_end(
    standin: SlackStandin, socket: Socket, question: Message, clock: ManualClock, reason: str
):
    async with socket():
        old = standin.socket.connections[0]
        standin.disconnect_sockets(reason)
        await standin.workspace.wait_for(
            lambda: True if standin.socket.connections and old not in standin.socket.connections else None, 10
        )
        clock.advance(60)
        assert (await standin.click("alice", question.ts, "approve")).acked


async def test_the_client_comes_back_after_a_cut(standin: SlackStandin, socket: Socket, question: Message):
    async with socket():
        standin.drop_sockets()
        await standin.workspace.wait_for(lambda: True if not standin.socket.connections else None, 10)
        await standin.wait_for_sockets()
        assert (await standin.click("alice", question.ts, "approve")).acked


async def test_the_eleventh_connection_is_turned_away(standin: SlackStandin, web: AsyncWebClient):
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for _ in range(11):
            url = (await web.apps_connections_open(app_token=standin.app_token))["url"]
            last = await stack.enter_async_context(session.ws_connect(url))
            greeting = await last.receive_json()
        assert greeting["reason"] == "too_many_websockets"
        assert len(standin.socket.connections) == 10


async def test_a_ticket_opens_one_socket_and_soon(standin: SlackStandin, web: AsyncWebClient, clock: ManualClock):
    async with aiohttp.ClientSession() as session:
        url = (await web.apps_connections_open(app_token=standin.app_token))["url"]
        async with session.ws_connect(url) as opened:
            assert (await opened.receive_json())["num_connections"] == 1
        stale = (await web.apps_connections_open(app_token=standin.app_token))["url"]
        clock.advance(31)
        for refused in (url, stale):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(refused)


async def test_garbage_instead_of_an_ack_is_counted_and_survived(
    standin: SlackStandin, socket: Socket, question: Message
):
    async with socket() as app:
        for garbage in ("ping", "[]", '{"envelope_id": "E404"}'):
            await app.client.send_message(garbage)
        assert (await standin.click("alice", question.ts, "approve")).acked
    assert standin.socket.stray_acks == 3


async def test_people_press_only_what_they_see(standin: SlackStandin, web: AsyncWebClient, question: Message):
    await web.chat_update(channel=CHANNEL, ts=question.ts, text="Approved by Bob")
    with pytest.raises(NotOnScreen):
        await standin.click("alice", question.ts, "approve")
    with pytest.raises(NotOnScreen):
        await standin.click("alice", "1.0", "approve")
    late = await standin.click("alice", question.ts, "approve", revision=0)
    assert late.payload["actions"][0]["value"] == "op-1"
    assert late.payload["message"]["text"] == "Approved by Bob"


async def test_the_value_tells_equal_buttons_apart(standin: SlackStandin, socket: Socket, web: AsyncWebClient):
    await web.chat_postMessage(channel=CHANNEL, text="two", blocks=[actions(button()), actions(button(value="op-2"))])
    message = await standin.wait_for_message(CHANNEL)
    async with socket() as app:
        await standin.click("alice", message.ts, "approve", "op-2")
        assert (await app.next()).payload["actions"][0]["value"] == "op-2"


async def test_a_button_in_a_form_pushes_another_on_top_of_it(
    standin: SlackStandin, socket: Socket, web: AsyncWebClient, question: Message
):
    lowest = modal(submit=None, blocks=[section("each"), actions(button("deny", "op-7"))])
    lowest.pop("submit")
    async with socket() as app:
        await standin.click("alice", question.ts, "approve")
        trigger = (await app.next()).payload["trigger_id"]
        await web.views_open(trigger_id=trigger, view=lowest)
        below = await standin.wait_for_view("alice")
        assert (await standin.click_in_view("alice", below.id, "deny")).acked
        clicked = (await app.next()).payload
        assert clicked["container"] == {"type": "view", "view_id": below.id}
        assert clicked["actions"][0]["value"] == "op-7"
        assert "channel" not in clicked
        pushed = (await web.views_push(trigger_id=clicked["trigger_id"], view=modal()))["view"]
        assert (pushed["root_view_id"], pushed["previous_view_id"]) == (below.id, below.id)
        top = await standin.wait_for_view("alice")
        await standin.submit_view("alice", top.id, {"reason": "no"})
        assert not top.open
        assert below.open
