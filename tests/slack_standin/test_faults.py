"""Slack on a bad day: outages, injected 429s, answers that get lost."""

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import FixedValueRetryIntervalCalculator
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import Message, SlackStandin
from tests.slack_standin.conftest import CHANNEL, Socket


async def post(web: AsyncWebClient) -> int:
    """The HTTP status of one attempt."""
    try:
        return (await web.chat_postMessage(channel=CHANNEL, text="x")).status_code
    except SlackApiError as error:
        return int(error.response.status_code)


async def test_the_next_calls_are_rate_limited(web: AsyncWebClient, standin: SlackStandin):
    standin.faults.rate_limit_next(2, retry_after=30, method="chat.postMessage")
    await web.auth_test()
    with pytest.raises(SlackApiError) as caught:
        await web.chat_postMessage(channel=CHANNEL, text="x")
    assert caught.value.response.headers["Retry-After"] == "30"
    assert [await post(web), await post(web)] == [429, 200]
    assert len(standin.messages(CHANNEL)) == 1
    assert standin.calls["chat.postMessage"] == 3


async def test_internal_errors(web: AsyncWebClient, standin: SlackStandin):
    standin.faults.fail_next()
    assert [await post(web), await post(web)] == [500, 200]


async def test_a_503_lasts_until_it_is_over(web: AsyncWebClient, standin: SlackStandin):
    await standin.outage("503")
    assert [await post(web), await post(web)] == [503, 503]
    await standin.recover()
    assert await post(web) == 200


async def test_a_refusal_takes_the_sockets_along_and_ends_on_the_same_port(
    web: AsyncWebClient, standin: SlackStandin, socket: Socket, question: Message
):
    async with socket() as app:
        before = standin.api_url
        await standin.outage("refused")
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(web)
        await standin.workspace.wait_for(lambda: True if not standin.socket.connections else None, 10)
        assert (await standin.click("alice", question.ts, "approve")).reason == "no_connection"
        await standin.recover()
        assert standin.api_url == before
        assert await post(web) == 200
        await standin.wait_for_sockets()
        assert (await standin.click("alice", question.ts, "approve")).acked
        assert (await app.next()).payload["actions"]


async def test_a_kept_alive_connection_does_not_outlive_the_refusal(standin: SlackStandin):
    async with aiohttp.ClientSession() as session:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url, session=session, retry_handlers=[])
        await web.auth_test()
        await standin.outage("refused")
        with pytest.raises(aiohttp.ClientConnectionError):
            await web.auth_test()


async def test_a_lost_answer_means_the_message_stands_there(web: AsyncWebClient, standin: SlackStandin):
    standin.faults.lose_answers(1, method="chat.postMessage")
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(web)
    assert len(standin.messages(CHANNEL)) == 1


async def test_the_sdks_own_retry_after_a_lost_answer_posts_twice(web: AsyncWebClient, standin: SlackStandin):
    at_once = FixedValueRetryIntervalCalculator(0)
    web.retry_handlers.append(AsyncConnectionErrorRetryHandler(interval_calculator=at_once))
    standin.faults.lose_answers(1, method="chat.postMessage")
    assert await post(web) == 200
    assert len(standin.messages(CHANNEL)) == 2
