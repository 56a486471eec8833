"""`SlackStandin`: the stand-in as one object, on two listeners.

One listener is Slack (`api_url`, sockets, uploads, response_urls) and can be made to fail; the other is for people
(`viewer_url`, the page and `/standin/…`) and always answers.
"""

import json
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from examples.slack_standin.clock import Clock, SystemClock
from examples.slack_standin.control import Control
from examples.slack_standin.delivery import Delivery, Via
from examples.slack_standin.faults import Faults, Outage
from examples.slack_standin.handles import Handles
from examples.slack_standin.http_post import RequestUrl
from examples.slack_standin.limits import Limits, RateLimiter
from examples.slack_standin.people import People
from examples.slack_standin.records import JSON, Channel, Ephemeral, File, Message, User, View
from examples.slack_standin.response_url import ResponseUrls
from examples.slack_standin.socketmode import Reason, SocketMode
from examples.slack_standin.webapi import BODY_BYTES, WebApi, break_connection
from examples.slack_standin.workspace import Workspace

HOST = "127.0.0.1"
# Opens nothing but a stand-in; an app under test may be given any other.
SIGNING_SECRET, BOT_TOKEN, APP_TOKEN = "standin-signing-secret", "xoxb-standin", "xapp-standin"
BOT = User("U0BOT", "countersign", is_bot=True, real_name="Countersign")
USERS = (
    User("U0ALICE", "alice", "alice@example.com", "Alice Archer"),
    User("U0BOB", "bob", "bob@example.com", "Bob Baker"),
)
CHANNELS = (Channel("C0APPROVE", "agent-approvals"), Channel("C0DBA", "db-approvals"))


class SlackStandin:
    """A workspace with one app installed. Give it to an app as `api_url`, `bot_token`, `app_token`.

    users, channels: who and what exists; the app's own bot user is added. clock: `ManualClock` turns Slack's time by
    hand. limits: `Limits()` is Slack, `Limits.off()` is lenient. request_url: where signed POSTs go; without it
    interactions take the socket.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        viewer_port: int = 0,
        clock: Clock | None = None,
        limits: Limits | None = None,
        signing_secret: str = SIGNING_SECRET,
        bot_token: str = BOT_TOKEN,
        app_token: str = APP_TOKEN,
        request_url: str | None = None,
        users: Sequence[User] = USERS,
        channels: Sequence[Channel] = CHANNELS,
        bot: User = BOT,
    ) -> None:
        self.clock = clock or SystemClock()
        self.limits = limits or Limits()
        self.signing_secret, self.bot_token, self.app_token = signing_secret, bot_token, app_token
        self.workspace = Workspace(self.clock, list(users), list(channels), bot)
        self.faults = Faults()
        self.handles = Handles(self.clock, self.limits)
        self.socket = SocketMode(self.clock, self.handles, self.limits, self.workspace.changed)
        self.http = RequestUrl(self.clock, self.limits, self.faults, signing_secret, request_url)
        self.people = People(self.workspace, self.handles, self.socket, self.http)
        self.web_api = WebApi(
            self.workspace, self.handles, self.limits, self.faults, RateLimiter(self.clock), bot_token, app_token
        )
        self._ports = {"slack": port, "viewer": viewer_port}
        self._runners: dict[str, web.AppRunner] = {}
        self._slack_site: web.TCPSite | None = None

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> "SlackStandin":
        slack = web.Application(middlewares=[self._outage], client_max_size=BODY_BYTES)
        slack.add_routes(self.web_api.routes())
        slack.router.add_get("/link/", self.socket.serve)
        slack.router.add_post("/actions/{token}", ResponseUrls(self.workspace, self.handles, self.limits).answer)
        viewer = web.Application()
        viewer.add_routes(Control(self).routes())
        self._slack_site = await self._listen("slack", slack)
        await self._listen("viewer", viewer)
        self.web_api.base_url, self.web_api.archive_url = self.url, self.viewer_url
        self.people.response_base = f"{self.url}actions/"
        return self

    async def stop(self) -> None:
        self.socket.end_all()
        for runner in self._runners.values():
            await runner.cleanup()
        self._runners.clear()

    async def __aenter__(self) -> "SlackStandin":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _listen(self, name: str, application: web.Application) -> web.TCPSite:
        runner = self._runners[name] = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, HOST, self._ports[name])
        await site.start()
        self._ports[name] = runner.addresses[0][1]
        return site

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._ports['slack']}/"

    @property
    def api_url(self) -> str:
        """For `AsyncWebClient(base_url=…)`."""
        return f"{self.url}api/"

    @property
    def viewer_url(self) -> str:
        """The page; `/standin/…` beside it is the control surface."""
        return f"http://{HOST}:{self._ports['viewer']}/"

    def addresses(self) -> JSON:
        """What another process needs to use this stand-in."""
        return {
            "api_url": self.api_url,
            "viewer_url": self.viewer_url,
            "control_url": f"{self.viewer_url}standin/",
            "bot_token": self.bot_token,
            "app_token": self.app_token,
            "signing_secret": self.signing_secret,
        }

    # --- looking -----------------------------------------------------------------------------------------------

    def messages(self, channel: str) -> list[Message]:
        """What stands in a channel (id or name), oldest first, each with its edit history."""
        return self.workspace.messages(channel)

    @property
    def ephemerals(self) -> list[Ephemeral]:
        return self.workspace.ephemerals

    @property
    def views(self) -> list[View]:
        """Every modal ever opened; `view.open` says whether it still is."""
        return list(self.workspace.views.values())

    @property
    def files(self) -> list[File]:
        return list(self.workspace.files.values())

    @property
    def calls(self) -> dict[str, int]:
        return self.web_api.calls

    def twice(self) -> list[Message]:
        """Messages whose metadata an earlier one has, too: an app that names each of its messages posted it twice."""
        seen: set[str] = set()
        found = []
        for message in self.workspace.log:
            name = json.dumps([message.channel, message.metadata], sort_keys=True)
            if message.metadata and name in seen:
                found.append(message)
            seen.add(name)
        return found

    async def wait_for_message(
        self, channel: str, predicate: Callable[[Message], bool] = lambda message: True, timeout: float = 60.0
    ) -> Message:
        """The first message in `channel` that satisfies `predicate`, now or later. Raises TimeoutError."""

        def look() -> Message | None:
            return next((message for message in self.messages(channel) if predicate(message)), None)

        return await self.workspace.wait_for(look, timeout)

    async def wait_for_ephemeral(self, user: str, timeout: float = 60.0, *, after: int = 0) -> Ephemeral:
        """What `user` was told in private, leaving out the first `after`. Raises TimeoutError."""
        user_id = self.workspace.user(user).id

        def look() -> Ephemeral | None:
            told = [ephemeral for ephemeral in self.ephemerals if ephemeral.user == user_id]
            return next(iter(told[after:]), None)

        return await self.workspace.wait_for(look, timeout)

    async def wait_for_view(self, user: str, timeout: float = 60.0) -> View:
        """The modal that is open in front of `user`, of several the topmost. Raises TimeoutError."""
        user_id = self.workspace.user(user).id

        def look() -> View | None:
            return next((view for view in reversed(self.views) if view.open and view.user == user_id), None)

        return await self.workspace.wait_for(look, timeout)

    async def wait_for_sockets(self, count: int = 1, timeout: float = 60.0) -> None:
        """Until at least `count` Socket Mode connections are up. Raises TimeoutError."""
        await self.workspace.wait_for(lambda: True if len(self.socket.connections) >= count else None, timeout)

    # --- doing -------------------------------------------------------------------------------------------------

    async def click(
        self,
        user: str,
        message_ts: str,
        action_id: str,
        value: str | None = None,
        via: Via | None = None,
        *,
        revision: int = -1,
        wait: bool = True,
    ) -> Delivery:
        """Press a button as `user` (id or name), see `People.click`; returns once it is acked or has failed."""
        delivery = await self.people.click(user, message_ts, action_id, value, via=via, revision=revision)
        return await delivery.settled() if wait else delivery

    async def click_in_view(
        self, user: str, view_id: str, action_id: str, value: str | None = None, via: Via | None = None
    ) -> Delivery:
        """Press a button in a form, see `People.click_in_view`; returns once it is acked or has failed."""
        return await (await self.people.click_in_view(user, view_id, action_id, value, via=via)).settled()

    async def submit_view(
        self, user: str, view_id: str, values: JSON, via: Via | None = None, *, wait: bool = True
    ) -> Delivery:
        """Send a form, see `People.submit_view`."""
        delivery = await self.people.submit_view(user, view_id, values, via=via)
        return await delivery.settled() if wait else delivery

    # --- breaking ----------------------------------------------------------------------------------------------

    async def outage(self, kind: Outage) -> None:
        """`503`: every request answered so. `refused`: nobody listens, sockets are cut. Until `recover`."""
        self.faults.outage = kind
        if kind == "refused" and self._slack_site is not None:
            await self._slack_site.stop()
            self._slack_site = None
            self.socket.cut_all()

    async def recover(self) -> None:
        """End every fault; listen again on the same port."""
        self.faults.clear()
        if self._slack_site is None:
            self._slack_site = web.TCPSite(self._runners["slack"], HOST, self._ports["slack"])
            await self._slack_site.start()

    def drop_sockets(self) -> None:
        """Cut every Socket Mode connection without a word."""
        self.socket.cut_all()

    def disconnect_sockets(self, reason: Reason = "refresh_requested") -> None:
        """Send a disconnect frame to every connection; it ends `limits.drain_seconds` later."""
        self.socket.disconnect(reason)

    def redeliver(self, envelope_id: str | None = None) -> Delivery:
        """Send an envelope (default: the latest) again although it was acked."""
        return self.socket.redeliver(envelope_id)

    async def replay(self, index: int = -1) -> int:
        """Send an earlier signed POST again, byte for byte; returns the app's status."""
        return await self.http.replay(index)

    @web.middleware
    async def _outage(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.faults.outage == "refused":  # a kept-alive connection outlived the listener
            break_connection(request)
        if self.faults.outage:
            return web.Response(status=503, text="<html>Service Unavailable</html>", content_type="text/html")
        return await handler(request)
