"""Signed POSTs to a request URL, checked by slack_sdk's SignatureVerifier, and response_urls."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web as aiohttp_web
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from examples.slack_standin import Limits, ManualClock, Message, SlackStandin
from tests.slack_standin.conftest import CHANNEL, actions, modal, section


class Endpoint:
    """The application's request URL: verifies, keeps the payload, answers `answer`."""

    def __init__(self, secret: str, clock: ManualClock) -> None:
        self.verifier = SignatureVerifier(secret, clock)  # type: ignore[arg-type]
        self.payloads: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | None = None
        self.status = 200
        self.url = ""
        self.release = asyncio.Event()
        self.release.set()

    async def receive(self, request: aiohttp_web.Request) -> aiohttp_web.Response:
        await self.release.wait()
        body = await request.read()
        if not self.verifier.is_valid_request(body, request.headers):
            return aiohttp_web.Response(status=401)
        self.payloads.append(json.loads((await request.post())["payload"]))  # type: ignore[arg-type]
        if self.answer is None:
            return aiohttp_web.Response(status=self.status)
        return aiohttp_web.json_response(self.answer)


@pytest.fixture
async def endpoint(standin: SlackStandin, clock: ManualClock) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(standin.signing_secret, clock)
    application = aiohttp_web.Application()
    application.router.add_post("/slack", endpoint.receive)
    runner = aiohttp_web.AppRunner(application)
    await runner.setup()
    await aiohttp_web.TCPSite(runner, "127.0.0.1", 0).start()
    standin.http.url = endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack"
    yield endpoint
    await runner.cleanup()


async def test_a_click_arrives_signed(standin: SlackStandin, endpoint: Endpoint, question: Message):
    delivery = await standin.click("alice", question.ts, "approve")
    assert (delivery.via, delivery.status, delivery.acked) == ("http", 200, True)
    assert endpoint.payloads[0]["actions"][0]["action_id"] == "approve"


async def test_a_forged_signature_is_recognised(standin: SlackStandin, endpoint: Endpoint, question: Message):
    standin.faults.forge_signatures()
    delivery = await standin.click("alice", question.ts, "approve")
    assert (delivery.state, delivery.status, endpoint.payloads) == ("failed", 401, [])
    assert (await standin.click("alice", question.ts, "approve")).acked


async def test_a_replayed_click_is_authentic_while_young_and_refused_when_old(
    standin: SlackStandin, endpoint: Endpoint, question: Message, clock: ManualClock
):
    await standin.click("alice", question.ts, "approve")
    assert await standin.replay() == 200
    assert endpoint.payloads[0] == endpoint.payloads[1]
    clock.advance(301)
    assert await standin.replay() == 401


async def test_errors_and_silence_are_not_repeated(standin: SlackStandin, endpoint: Endpoint, question: Message):
    endpoint.status = 500
    assert (await standin.click("alice", question.ts, "approve")).reason == "http_error 500"
    standin.http.url = "http://127.0.0.1:1/"
    assert (await standin.click("alice", question.ts, "approve")).reason == "connection_failed"
    assert len(endpoint.payloads) == 1


async def test_an_endpoint_that_dawdles_has_failed(clock: ManualClock, endpoint: Endpoint):
    endpoint.release.clear()
    async with SlackStandin(clock=clock, limits=Limits(ack_seconds=0.05), request_url=endpoint.url) as standin:
        web = AsyncWebClient(standin.bot_token, base_url=standin.api_url)
        posted = await web.chat_postMessage(channel=CHANNEL, text="May I?", blocks=[actions()])
        delivery = await standin.click("alice", posted["ts"], "approve")
    endpoint.release.set()
    assert delivery.reason == "timeout"


async def test_a_form_can_be_answered_in_the_response(
    standin: SlackStandin, web: AsyncWebClient, endpoint: Endpoint, question: Message
):
    trigger = (await standin.click("bob", question.ts, "deny")).payload["trigger_id"]
    await web.views_open(trigger_id=trigger, view=modal())
    view = await standin.wait_for_view("bob")
    endpoint.answer = {"response_action": "update", "view": modal(callback_id="sure?")}
    await standin.submit_view("bob", view.id, {"reason": "no"})
    assert (view.open, view.body["callback_id"]) == (True, "sure?")
    endpoint.answer = {"response_action": "clear"}
    await standin.submit_view("bob", view.id, {"reason": "no"})
    assert not view.open


async def test_a_response_url_works_five_times(standin: SlackStandin, endpoint: Endpoint, question: Message):
    url = (await standin.click("alice", question.ts, "approve")).payload["response_url"]
    client = AsyncWebhookClient(url)
    answers = [await client.send(text=f"answer {number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert json.loads(answers[-1].body)["error"] == "used_url"
    assert [ephemeral.user for ephemeral in standin.ephemerals] == ["U0ALICE"] * 5


async def test_a_response_url_dies_after_half_an_hour(
    standin: SlackStandin, endpoint: Endpoint, question: Message, clock: ManualClock
):
    url = (await standin.click("alice", question.ts, "approve")).payload["response_url"]
    clock.advance(1799)
    assert (await AsyncWebhookClient(url).send(text="in time")).status_code == 200
    clock.advance(1)
    late = await AsyncWebhookClient(url).send(text="late")
    assert (late.status_code, json.loads(late.body)["error"]) == (404, "expired_url")


async def test_a_response_url_can_replace_post_and_delete(standin: SlackStandin, endpoint: Endpoint, question: Message):
    client = AsyncWebhookClient((await standin.click("alice", question.ts, "approve")).payload["response_url"])
    await client.send(text="Approved", blocks=[section("Approved")], replace_original=True)
    assert question.text == "Approved"
    await client.send(text="for all to see", response_type="in_channel")
    await client.send(delete_original=True)
    assert [message.text for message in standin.messages(CHANNEL)] == ["for all to see"]
    refused = await client.send(text="x", blocks=[section("x" * 3001)])
    assert (refused.status_code, json.loads(refused.body)["error"]) == (400, "invalid_blocks")
