"""Clicks by Socket Mode: Slack sends them down a WebSocket that we opened, so no address of ours is public.

slack_sdk keeps the connection; an envelope is acked only after its decision is stored. One that is not acked comes
again, to any copy's connection, and finds the decision made.
"""

import asyncio

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from services.approver.slack.interactions import Interactions, NotHandled
from services.approver.slack.web import LOGGER
from services.runtime.tasks import TaskGroup, end

log = structlog.get_logger(__name__)

#: Seconds between pings; four missed ones, and slack_sdk connects anew.
PING = 5.0


class Socket:
    """One Socket Mode connection. Build it inside the running loop."""

    def __init__(self, app_token: str, web: AsyncWebClient, interactions: Interactions, ping: float = PING) -> None:
        self._interactions = interactions
        self._client = SocketModeClient(app_token, LOGGER, web, ping_interval=ping)
        self._client.socket_mode_request_listeners.append(self._heard)
        self._connecting: asyncio.Task[None] | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Connect in the background, for as long as it takes."""
        self._connecting = tasks.start(self._connect(), "slack socket")

    def check(self) -> bool | str:
        """Whether Slack can reach us."""
        session = self._client.current_session
        return (session is not None and not session.closed) or "Socket Mode is not connected"

    async def stop(self) -> None:
        """Take no more clicks."""
        if self._connecting is not None:
            await end(self._connecting)
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        """slack_sdk retries by itself once it has an address, and not before."""
        while True:
            try:
                await self._client.connect()  # type: ignore[no-untyped-call]
                return
            except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("Slack cannot be reached", error=type(error).__name__)
                await asyncio.sleep(PING)

    async def _heard(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if request.type != "interactive":
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
            return
        try:
            answer = await self._interactions.handle(request.payload)
        except NotHandled:
            return
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, answer or None))
