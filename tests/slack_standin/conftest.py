"""A stand-in turned by hand, and the real slack_sdk clients that talk to it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import ManualClock, Message, SlackStandin

CHANNEL = "C0APPROVE"
Socket = Callable[..., AbstractAsyncContextManager["App"]]


def button(action_id: str = "approve", value: str | None = "op-1", **more: Any) -> dict[str, Any]:
    found = {
        "type": "button",
        "text": {"type": "plain_text", "text": action_id.title()},
        "action_id": action_id,
        **more,
    }
    return found if value is None else found | {"value": value}


def section(text: str = "May I?") -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def actions(*buttons: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(buttons or [button()])}


def modal(**more: Any) -> dict[str, Any]:
    label = {"type": "plain_text", "text": "Why?"}
    element = {"type": "plain_text_input", "action_id": "reason", "max_length": 20}
    return {
        "type": "modal",
        "callback_id": "deny",
        "title": {"type": "plain_text", "text": "Deny"},
        "submit": {"type": "plain_text", "text": "Deny"},
        "blocks": [{"type": "input", "block_id": "why", "label": label, "element": element}],
        **more,
    }


class App:
    """The application's end of Socket Mode: keeps what arrived and acks it with `answer`, unless told not to."""

    def __init__(self, client: SocketModeClient) -> None:
        self.client = client
        self.requests: asyncio.Queue[SocketModeRequest] = asyncio.Queue()
        self.answer: dict[str, Any] | None = None
        self.acks = True

    async def heard(self, client: SocketModeClient, request: SocketModeRequest) -> None:
        self.requests.put_nowait(request)
        if self.acks:
            await self.ack(request)

    async def ack(self, request: SocketModeRequest) -> None:
        await self.client.send_socket_mode_response(SocketModeResponse(request.envelope_id, self.answer))

    async def next(self) -> SocketModeRequest:
        return await asyncio.wait_for(self.requests.get(), 10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def standin(clock: ManualClock) -> AsyncIterator[SlackStandin]:
    async with SlackStandin(clock=clock) as running:
        yield running


@pytest.fixture
def web(standin: SlackStandin) -> AsyncWebClient:
    """slack_sdk's client without its own retries, so that a test sees each refusal."""
    return AsyncWebClient(standin.bot_token, base_url=standin.api_url, retry_handlers=[])


@asynccontextmanager
async def connect(standin: SlackStandin, ping_interval: float = 0.2) -> AsyncIterator[App]:
    """One more real Socket Mode client, connected."""
    logger = logging.getLogger("tests.slack")
    logger.setLevel(logging.CRITICAL)
    web = AsyncWebClient(base_url=standin.api_url, logger=logger)
    client = SocketModeClient(standin.app_token, logger, web, ping_interval=ping_interval)
    app = App(client)
    client.socket_mode_request_listeners.append(app.heard)
    try:
        up = len(standin.socket.connections) + 1
        await client.connect()
        await standin.wait_for_sockets(up)
        yield app
    finally:
        await client.close()


@pytest.fixture
def socket(standin: SlackStandin) -> Socket:
    """`async with socket() as app:` connects to the stand-in of the test."""
    return partial(connect, standin)


@pytest.fixture
async def question(web: AsyncWebClient, standin: SlackStandin) -> Message:
    """A message with two buttons, already posted."""
    await web.chat_postMessage(channel=CHANNEL, text="May I?", blocks=[section(), actions(button(), button("deny"))])
    return await standin.wait_for_message(CHANNEL)
