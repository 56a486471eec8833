"""The Web API, driven by slack_sdk's own client: what works, and how Slack says no."""

from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import Channel, Limits, ManualClock, Message, SlackStandin, User
from tests.slack_standin.conftest import CHANNEL, Socket, actions, button, modal, section


async def refused(call: Any) -> str:
    """The error code of a call that Slack answers with HTTP 200 and no."""
    with pytest.raises(SlackApiError) as caught:
        await call
    assert caught.value.response.status_code == 200
    return str(caught.value.response["error"])


async def test_post_update_delete_and_link(web: AsyncWebClient, standin: SlackStandin, clock: ManualClock):
    posted = await web.chat_postMessage(channel="#agent-approvals", text="May I?", blocks=[section()])
    assert posted["channel"] == CHANNEL
    assert posted["message"]["blocks"][0]["block_id"]
    clock.advance(5)
    await web.chat_update(channel=CHANNEL, ts=posted["ts"], text="Approved", blocks=[section("Approved by Bob")])
    (message,) = standin.messages("#agent-approvals")
    assert [revision.text for revision in message.history] == ["May I?", "Approved"]
    assert message.history[1].at - message.history[0].at == 5
    link = (await web.chat_getPermalink(channel=CHANNEL, message_ts=message.ts))["permalink"]
    assert link == f"{standin.viewer_url}archives/{CHANNEL}/p{message.ts.replace('.', '')}"
    await web.chat_delete(channel=CHANNEL, ts=message.ts)
    assert standin.messages(CHANNEL) == []


async def test_a_message_posted_twice_stands_there_twice(web: AsyncWebClient, standin: SlackStandin):
    for _ in range(2):
        await web.chat_postMessage(channel=CHANNEL, text="May I?")
    first, second = standin.messages(CHANNEL)
    assert first.text == second.text
    assert first.ts < second.ts


async def test_text_alone_replaces_the_blocks_of_an_update(web: AsyncWebClient, question: Message):
    await web.chat_update(channel=CHANNEL, ts=question.ts, text="gone")
    assert question.blocks == ()
    # Not `web.chat_update`: slack_sdk warns about a missing text.
    await web.api_call("chat.update", json={"channel": CHANNEL, "ts": question.ts, "blocks": [section("back")]})
    assert question.text == "gone"
    assert question.blocks[0]["text"]["text"] == "back"


async def test_only_ones_own_existing_messages_can_be_changed(web: AsyncWebClient, standin: SlackStandin):
    theirs = standin.people.say("alice", CHANNEL, "hello")
    assert await refused(web.chat_update(channel=CHANNEL, ts="1.000000", text="x")) == "message_not_found"
    assert await refused(web.chat_update(channel="C0DBA", ts=theirs.ts, text="x")) == "message_not_found"
    assert await refused(web.chat_update(channel=CHANNEL, ts=theirs.ts, text="x")) == "cant_update_message"
    assert await refused(web.chat_delete(channel=CHANNEL, ts=theirs.ts)) == "cant_delete_message"
    assert await refused(web.chat_update(channel="#agent-approvals", ts=theirs.ts, text="x")) == "channel_not_found"


async def test_tokens(web: AsyncWebClient, standin: SlackStandin):
    assert (await web.auth_test())["user_id"] == "U0BOT"
    nobody = AsyncWebClient(base_url=standin.api_url)
    assert await refused(nobody.auth_test()) == "not_authed"
    assert await refused(nobody.auth_test(token="xoxb-other")) == "invalid_auth"
    assert await refused(nobody.auth_test(token=standin.app_token)) == "not_allowed_token_type"
    assert await refused(nobody.apps_connections_open(app_token=standin.bot_token)) == "not_allowed_token_type"
    assert await refused(web.api_call("chat.unheardOf")) == "unknown_method"


async def test_channels_that_cannot_be_posted_to():
    channels = [
        Channel("C1", "elsewhere", has_bot=False),
        Channel("C2", "secret", is_private=True, has_bot=False),
        Channel("C3", "old", is_archived=True),
    ]
    async with SlackStandin(channels=channels) as standin:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url)
        codes = [await refused(web.chat_postMessage(channel=name, text="x")) for name in ("C1", "C2", "C3", "C4")]
        shown = [channel["name"] for channel in (await web.conversations_list())["channels"]]
    assert codes == ["not_in_channel", "channel_not_found", "is_archived", "channel_not_found"]
    assert shown == ["elsewhere", "old"]


async def test_people_are_found_by_address_unless_they_left(web: AsyncWebClient, standin: SlackStandin):
    assert (await web.users_lookupByEmail(email="Alice@Example.com"))["user"]["id"] == "U0ALICE"
    assert (await web.users_info(user="U0BOB"))["user"]["profile"]["email"] == "bob@example.com"
    standin.workspace.change_user("alice", deleted=True)
    assert await refused(web.users_lookupByEmail(email="alice@example.com")) == "users_not_found"
    assert (await web.users_info(user="U0ALICE"))["user"]["deleted"]
    assert await refused(web.users_info(user="U404")) == "user_not_found"


async def test_unconfirmed_addresses_and_strangers_show(standin: SlackStandin, web: AsyncWebClient):
    standin.workspace.change_user("bob", is_email_confirmed=False, team_id="T0OTHER")
    bob = (await web.users_info(user="U0BOB"))["user"]
    assert (bob["is_email_confirmed"], bob["is_stranger"], bob["team_id"]) == (False, True, "T0OTHER")


async def test_a_direct_message_is_seen_by_its_reader_alone(web: AsyncWebClient, standin: SlackStandin):
    channel = (await web.conversations_open(users="U0BOB"))["channel"]["id"]
    assert channel.startswith("D")
    await web.chat_postMessage(channel=channel, text="decided", blocks=[actions()])
    await web.chat_postMessage(channel="U0BOB", text="the same place")
    message, second = standin.messages(channel)
    assert second.channel == message.channel
    with pytest.raises(LookupError):
        await standin.click("alice", message.ts, "approve")


async def test_a_whisper_is_kept_apart(web: AsyncWebClient, standin: SlackStandin):
    await web.chat_postEphemeral(channel=CHANNEL, user="U0BOB", text="You may not approve your own request.")
    assert (await standin.wait_for_ephemeral("bob")).text.startswith("You may not")
    assert standin.messages(CHANNEL) == []
    assert await refused(web.chat_postEphemeral(channel=CHANNEL, user="U404", text="x")) == "user_not_in_channel"


async def test_a_button_in_a_whisper_is_pressed_by_its_reader_alone(
    web: AsyncWebClient, standin: SlackStandin, socket: Socket
):
    await web.chat_postEphemeral(channel=CHANNEL, user="U0BOB", text="Sure?", blocks=[actions()])
    whisper = await standin.wait_for_ephemeral("bob")
    with pytest.raises(LookupError):
        await standin.click("alice", whisper.ts, "approve")
    async with socket() as app:
        await standin.click("bob", whisper.ts, "approve")
        payload = (await app.next()).payload
    assert payload["container"]["is_ephemeral"]
    assert "message" not in payload
    assert await refused(web.chat_update(channel=CHANNEL, ts=whisper.ts, text="x")) == "message_not_found"


async def test_threads_and_metadata_can_be_read_back(web: AsyncWebClient):
    metadata = {"event_type": "approval", "event_payload": {"operation": "op-1"}}
    top = await web.chat_postMessage(channel=CHANNEL, text="May I?", metadata=metadata)
    await web.chat_postMessage(channel=CHANNEL, text="3 rows", thread_ts=top["ts"])
    history = await web.conversations_history(channel=CHANNEL, include_all_metadata=True)
    assert [message["metadata"] for message in history["messages"]] == [metadata]
    thread = await web.conversations_replies(channel=CHANNEL, ts=top["ts"])
    assert [message["text"] for message in thread["messages"]] == ["May I?", "3 rows"]
    assert await refused(web.chat_postMessage(channel=CHANNEL, text="x", thread_ts="1.0")) == "thread_not_found"
    later = await web.conversations_history(channel=CHANNEL, oldest=top["ts"])
    assert later["messages"] == []


async def test_a_long_statement_is_uploaded_to_be_read_whole(web: AsyncWebClient, standin: SlackStandin):
    statement = "UPDATE orders SET note = 'é' WHERE id IN (" + ", ".join(map(str, range(5000))) + ")"
    top = await web.chat_postMessage(channel=CHANNEL, text="May I?")
    uploaded = await web.files_upload_v2(
        filename="statement.sql", content=statement, title="Whole", channel=CHANNEL, thread_ts=top["ts"]
    )
    (file,) = standin.files
    assert file.text == statement
    reply = standin.messages(CHANNEL)[-1]
    assert (reply.thread_ts, reply.files) == (top["ts"], [file.id])
    async with aiohttp.ClientSession() as session:
        url = uploaded["file"]["url_private"]
        async with (
            session.get(url) as stranger,
            session.get(url, headers={"Authorization": f"Bearer {web.token}"}) as bot,
        ):
            assert stranger.status == 404
            assert await bot.text() == statement


async def test_an_upload_that_breaks_its_word_fails(web: AsyncWebClient):
    step = await web.files_getUploadURLExternal(filename="a.txt", length=10)
    assert (
        await refused(web.files_completeUploadExternal(files=[{"id": step["file_id"], "title": "a"}]))
        == "file_not_found"
    )
    async with aiohttp.ClientSession() as session, session.post(step["upload_url"], data=b"short") as answer:
        assert answer.status == 400


async def test_a_channel_takes_a_message_a_second_after_its_burst(
    web: AsyncWebClient, standin: SlackStandin, clock: ManualClock
):
    for _ in range(5):
        await web.chat_postMessage(channel=CHANNEL, text="x")
    with pytest.raises(SlackApiError) as caught:
        await web.chat_postMessage(channel="#agent-approvals", text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response["error"] == "ratelimited"
    assert caught.value.response.headers["Retry-After"] == "1"
    await web.chat_postMessage(channel="C0DBA", text="another channel has its own rate")
    clock.advance(1)
    await web.chat_postMessage(channel=CHANNEL, text="x")
    with pytest.raises(SlackApiError):
        await web.chat_postMessage(channel=CHANNEL, text="x")
    assert len(standin.messages(CHANNEL)) == 6


async def test_updates_have_their_tier(web: AsyncWebClient, question: Message, clock: ManualClock):
    for number in range(50):
        await web.chat_update(channel=CHANNEL, ts=question.ts, text=str(number))
    with pytest.raises(SlackApiError) as caught:
        await web.chat_update(channel=CHANNEL, ts=question.ts, text="x")
    assert caught.value.response.headers["Retry-After"] == "2"
    clock.advance(2)
    await web.chat_update(channel=CHANNEL, ts=question.ts, text="x")


async def test_limits_can_be_switched_off():
    async with SlackStandin(limits=Limits.off()) as standin:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url)
        for _ in range(60):
            sent = await web.chat_postMessage(channel=CHANNEL, text="x", blocks=[section("x" * 4000)])
            await web.chat_update(channel=CHANNEL, ts=sent["ts"], text="y")
        assert len(standin.messages(CHANNEL)) == 60


async def test_a_trigger_opens_one_modal_within_three_seconds(
    web: AsyncWebClient, standin: SlackStandin, question: Message, clock: ManualClock
):
    fresh = (await standin.click("alice", question.ts, "deny")).payload["trigger_id"]
    clock.advance(2.9)
    await web.views_open(trigger_id=fresh, view=modal())
    assert await refused(web.views_open(trigger_id=fresh, view=modal())) == "exchanged_trigger_id"
    stale = (await standin.click("alice", question.ts, "deny")).payload["trigger_id"]
    clock.advance(3)
    assert await refused(web.views_open(trigger_id=stale, view=modal())) == "expired_trigger_id"
    assert await refused(web.views_open(trigger_id="1.2.3", view=modal())) == "invalid_trigger_id"


async def test_a_refused_modal_does_not_spend_the_trigger(
    web: AsyncWebClient, standin: SlackStandin, question: Message
):
    trigger = (await standin.click("alice", question.ts, "deny")).payload["trigger_id"]
    long = {"type": "plain_text", "text": "Deny this dangerous request"}
    assert await refused(web.views_open(trigger_id=trigger, view=modal(title=long))) == "invalid_arguments"
    await web.views_open(trigger_id=trigger, view=modal())


async def test_a_modal_is_updated_if_nobody_else_did(web: AsyncWebClient, standin: SlackStandin, question: Message):
    trigger = (await standin.click("alice", question.ts, "deny")).payload["trigger_id"]
    opened = (await web.views_open(trigger_id=trigger, view=modal(external_id="deny-1")))["view"]
    await web.views_update(external_id="deny-1", hash=opened["hash"], view=modal(callback_id="again"))
    assert standin.views[0].body["callback_id"] == "again"
    assert await refused(web.views_update(view_id=opened["id"], hash=opened["hash"], view=modal())) == "hash_conflict"
    assert await refused(web.views_update(view_id="V404", view=modal())) == "not_found"


async def test_a_form_enforces_its_fields(
    standin: SlackStandin, socket: Socket, web: AsyncWebClient, question: Message
):
    async with socket() as app:
        await standin.click("alice", question.ts, "deny")
        await web.views_open(trigger_id=(await app.next()).payload["trigger_id"], view=modal())
        view = await standin.wait_for_view("alice")
        for wrong in ({}, {"reason": "x" * 21}, {"reason": "ok", "other": "?"}):
            with pytest.raises(ValueError, match="the form"):
                await standin.submit_view("alice", view.id, wrong)
        with pytest.raises(LookupError):
            await standin.submit_view("bob", view.id, {"reason": "mine?"})
        await standin.submit_view("alice", view.id, {"reason": "ok"})
        with pytest.raises(LookupError):
            await standin.submit_view("alice", view.id, {"reason": "again"})


async def test_messages_without_content_and_broken_blocks(web: AsyncWebClient, question: Message):
    assert await refused(web.api_call("chat.postMessage", json={"channel": CHANNEL})) == "no_text"
    assert await refused(web.chat_postMessage(channel=CHANNEL, text="x", blocks="[{")) == "invalid_blocks_format"
    long = [section("x" * 3000)] * 5
    assert await refused(web.chat_postMessage(channel=CHANNEL, text="x", blocks=long)) == "msg_blocks_too_long"
    assert await refused(web.chat_update(channel=CHANNEL, ts=question.ts, text="x" * 4001)) == "msg_too_long"


async def test_invalid_blocks_are_named_and_located(web: AsyncWebClient):
    blocks = [section("x" * 3001), actions(button(value="v" * 2001))]
    with pytest.raises(SlackApiError) as caught:
        await web.chat_postMessage(channel=CHANNEL, text="x", blocks=blocks)
    assert caught.value.response["error"] == "invalid_blocks"
    assert caught.value.response["response_metadata"]["messages"] == [
        "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
        "[ERROR] must be less than 2001 characters [json-pointer:/blocks/1/elements/0/value]",
    ]


async def test_users_of_ones_own(clock: ManualClock):
    async with SlackStandin(clock=clock, users=[User("U1", "carol", "carol@example.com")]) as standin:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url)
        names = [member["name"] for member in (await web.users_list())["members"]]
    assert names == ["carol", "countersign"]


async def test_history_comes_in_pages_that_a_cursor_joins(web: AsyncWebClient) -> None:
    sent = [(await web.chat_postMessage(channel="C0APPROVE", text=str(number)))["ts"] for number in range(5)]
    found: list[str] = []
    cursor = None
    while cursor != "":
        page = await web.conversations_history(channel="C0APPROVE", limit=2, cursor=cursor)
        found += [message["ts"] for message in page["messages"]]
        cursor = page["response_metadata"]["next_cursor"]
    assert found == sent[::-1]


async def test_the_workspace_has_a_limit_over_all_channels() -> None:
    channels = [Channel(f"C{number}", f"c{number}") for number in range(4)]
    limits = Limits(post_burst=100, workspace_burst=3, workspace_posts_per_second=0.001)
    async with SlackStandin(channels=channels, limits=limits) as slack:
        web = AsyncWebClient(slack.bot_token, base_url=slack.api_url)
        for channel in channels[:3]:
            await web.chat_postMessage(channel=channel.id, text="x")
        with pytest.raises(SlackApiError, match="ratelimited"):
            await web.chat_postMessage(channel=channels[3].id, text="x")
        assert slack.web_api.refused == {"chat.postMessage": 1}


async def test_a_message_posted_twice_is_told_by_its_metadata(standin: SlackStandin, web: AsyncWebClient) -> None:
    metadata = {"event_type": "t", "event_payload": {"id": "1"}}
    await web.chat_postMessage(channel="C0APPROVE", text="x", metadata=metadata)
    assert standin.twice() == []
    again = await web.chat_postMessage(channel="C0APPROVE", text="x", metadata=metadata)
    assert [message.ts for message in standin.twice()] == [again["ts"]]
