"""`/api/<method>` over HTTP: tokens, rate limits and the form of Slack's answers; the methods are in methods/.

Counterpart: slack_sdk.web. A refused call is HTTP 200 with `{"ok": false}`; only 429 and faults have a status.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from examples.slack_standin.errors import SlackError
from examples.slack_standin.faults import Faults
from examples.slack_standin.handles import Handles
from examples.slack_standin.limits import TIERS, Limits, RateLimiter
from examples.slack_standin.methods import METHODS, Call
from examples.slack_standin.records import JSON
from examples.slack_standin.workspace import Workspace

from .methods.files import FILE_BYTES

BODY_BYTES = FILE_BYTES + 64 * 1024  # the largest request is a file in a multipart envelope
APP_TOKEN_METHODS = {"apps.connections.open"}
OPEN_METHODS = {"api.test"}


@dataclass(slots=True)
class WebApi:
    """The HTTP side of the Web API. `calls` counts what was asked, by method, `refused` what got a 429 for its rate."""

    workspace: Workspace
    handles: Handles
    limits: Limits
    faults: Faults
    rates: RateLimiter
    bot_token: str
    app_token: str
    base_url: str = ""
    archive_url: str = ""
    calls: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self.answer),
            web.post("/upload/v1/{token}", self.receive_file),
            web.get("/files/{file_id}", self.send_file),
        ]

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        self.calls[method] = self.calls.get(method, 0) + 1
        if self.faults.server_error.take(method):
            return web.json_response({"ok": False, "error": "internal_error"}, status=500)
        try:
            result: JSON = {"ok": True, **self._perform(method, await _arguments(request), request)}
        except SlackError as error:
            return _refusal(error)
        if self.faults.lost_answer.take(method):
            break_connection(request)
        return web.json_response(result)

    def _perform(self, method: str, arguments: JSON, request: web.Request) -> JSON:
        if self.faults.rate_limit.take(method):
            raise SlackError("ratelimited", retry_after=self.faults.rate_limit.retry_after)
        if method not in METHODS:
            raise SlackError("unknown_method")
        self._authenticate(method, _token(request, arguments))
        self._throttle(method, arguments)
        call = Call(arguments, self.workspace, self.limits, self.handles, self.base_url, self.archive_url)
        return METHODS[method](call)

    def _authenticate(self, method: str, token: str) -> None:
        if method in OPEN_METHODS:
            return
        if not token:
            raise SlackError("not_authed")
        if token not in (self.bot_token, self.app_token):
            raise SlackError("invalid_auth")
        if (token == self.app_token) != (method in APP_TOKEN_METHODS):
            raise SlackError("not_allowed_token_type")

    def _throttle(self, method: str, arguments: JSON) -> None:
        """Raises SlackError ratelimited, with the whole seconds to wait; shrunk ones are not rounded."""
        limits = self.limits
        wait = 0.0
        if method == "chat.postMessage":
            key = f"post:{self._channel_key(str(arguments.get('channel')))}"
            rates = [(key, limits.posts_per_second, limits.post_burst)]
            rates.append(("post", limits.workspace_posts_per_second, limits.workspace_burst))
        elif limits.tiers and method in TIERS:
            rates = [(method, TIERS[method] / 60, TIERS[method])]
        else:
            return
        for name, per_second, burst in rates:
            wait = wait or self.rates.wait(name, per_second / limits.second, burst)
        if wait:
            self.refused[method] = self.refused.get(method, 0) + 1
            raise SlackError("ratelimited", retry_after=max(1, math.ceil(wait)) if limits.second >= 1 else wait)

    def _channel_key(self, name: str) -> str:
        """`#ops`, `ops` and `C1` are one channel, with one rate."""
        try:
            return self.workspace.channel(name).id
        except SlackError:
            return name

    async def receive_file(self, request: web.Request) -> web.Response:
        """Step two of an upload: raw bytes, or one part of a multipart form, of exactly the announced size."""
        file_id = self.handles.redeem_upload(request.match_info["token"])
        if file_id is None:
            raise web.HTTPNotFound
        file, content = self.workspace.files[file_id], await _upload(request)
        if len(content) != file.size:
            raise web.HTTPBadRequest(text=f"announced {file.size} bytes, got {len(content)}")
        file.content = content
        return web.Response(text=f"OK - {len(content)}")

    async def send_file(self, request: web.Request) -> web.Response:
        """`url_private`: the bot's token opens it."""
        file = self.workspace.files.get(request.match_info["file_id"])
        if _token(request, {}) != self.bot_token or file is None or file.content is None:
            raise web.HTTPNotFound
        return web.Response(body=file.content, content_type="text/plain", charset="utf-8")


def break_connection(request: web.Request) -> None:
    """Cut the wire without an answer, as a dead load balancer does."""
    if request.transport is not None:
        request.transport.abort()


def _refusal(error: SlackError) -> web.Response:
    body: JSON = {"ok": False, "error": error.code}
    if error.messages:
        body |= {"errors": [line.removeprefix("[ERROR] ") for line in error.messages]}
        body["response_metadata"] = {"messages": error.messages}
    if error.retry_after is None:
        return web.json_response(body)
    return web.json_response(body, status=429, headers={"Retry-After": str(error.retry_after)})


def _token(request: web.Request, arguments: JSON) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else str(arguments.get("token") or "")


async def _arguments(request: web.Request) -> JSON:
    """From the query, a form or a JSON object. Raises SlackError when the JSON is not an object."""
    query: JSON = dict(request.query)
    if request.content_type != "application/json":
        return query | dict(await request.post())
    try:
        body: Any = await request.json()
    except ValueError:
        raise SlackError("invalid_json") from None
    if not isinstance(body, dict):
        raise SlackError("json_not_object")
    return query | body


async def _upload(request: web.Request) -> bytes:
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    for part in (await request.post()).values():
        return part.file.read() if isinstance(part, web.FileField) else str(part).encode()
    return b""
