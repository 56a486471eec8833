"""Clicks by HTTP: Slack posts them, signed, to `/-/slack/interactivity` on the approver's own listener.

The signature covers time and body (docs.slack.dev, "Verifying requests from Slack"); older than five minutes, or seen
before, is refused. A replay to another copy meets the state machine, which lets nobody decide twice.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from json import JSONDecodeError
from urllib.parse import parse_qs

import orjson
from aiohttp import web
from slack_sdk.signature import Clock, SignatureVerifier

from services.approver.slack.interactions import Interactions, NotHandled

PATH = "/-/slack/interactivity"
#: Bytes of one interaction: it quotes the whole message, whose text Slack limits to 12,000 characters.
MAX_BODY = 256 * 1024
#: Seconds in which it has to arrive: until its signature is checked, anybody may have sent it.
READ = 10.0
#: Seconds for which slack_sdk accepts a timestamp, in either direction.
WINDOW = 300
#: Signatures remembered; Slack sends far fewer in two windows. When full, nothing is accepted.
MAX_SEEN = 50_000


class Replays:
    """Signatures that were used, for as long as their timestamps are accepted."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def first(self, signature: str) -> bool:
        """Whether this signature is new; from now on it is not."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if signature in self._seen or len(self._seen) >= MAX_SEEN:
            return False
        self._seen[signature] = now + 2 * WINDOW
        return True


class Interactivity:
    """The endpoint."""

    def __init__(self, signing_secret: str, interactions: Interactions, clock: Clock | None = None) -> None:
        self._verifier = SignatureVerifier(signing_secret, clock or Clock())
        self._interactions = interactions
        self._replays = Replays()

    def register(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_post(PATH, self._post)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(READ):
                body = await _read(request)
        except TimeoutError:
            return web.Response(status=408)
        if len(body) > MAX_BODY:
            return web.Response(status=413)
        if not self._genuine(body, request):
            return web.Response(status=401)
        try:
            payload = orjson.loads(parse_qs(body.decode())["payload"][0])
            answer = await self._interactions.handle(payload)
        except (UnicodeDecodeError, KeyError, JSONDecodeError, TypeError, AttributeError):
            return web.Response(status=400)
        except NotHandled:
            return web.Response(status=503)
        return web.json_response(answer) if answer else web.Response()

    def _genuine(self, body: bytes, request: web.Request) -> bool:
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12 and signature.isascii()):
            return False
        try:
            valid = self._verifier.is_valid(body, timestamp, signature)
        except UnicodeDecodeError:
            return False
        return valid and self._replays.first(signature)


async def _read(request: web.Request) -> bytes:
    body = await request.content.read(MAX_BODY + 1)
    while len(body) <= MAX_BODY and not request.content.at_eof():
        body += await request.content.read(MAX_BODY + 1 - len(body))
    return body
