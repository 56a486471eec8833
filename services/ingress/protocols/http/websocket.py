"""A WebSocket that a rule allowed as `http.websocket`: messages are relayed both ways, masked one by one, recorded.

A message is the unit of masking, so a value cut over two messages is not found; docs/masking.md says so. Messages
have a maximum, and a slow reader slows the other side (RFC 6455; G10).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType, web

from schemas.events import Outcome
from schemas.verdicts import MaskObligation, Verdict
from services.ingress.admission import token_in
from services.ingress.content import Content, MediaType
from services.ingress.errors import GatewayError
from services.ingress.parts import Parts
from services.ingress.protocols.http import headers
from services.ingress.protocols.http.outbound import prepare
from services.ingress.protocols.http.replies import OPERATION_FIELD
from services.ingress.protocols.http.target import Target
from services.ingress.story import Story
from services.ingress.upstream.http import Upstream
from services.runtime.tasks import TaskGroup

#: Largest message either way.
MAX_MESSAGE = 4 * 1024 * 1024
#: Set by the handshake itself, by us on each side.
_HANDSHAKE = frozenset(
    {"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}
)
_TEXT = MediaType("text/plain")

#: Codes that an endpoint may send; the others only stand for what was not sent (RFC 6455, section 7.4.1).
_PASSABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})

#: RFC 6455, section 7.4.1: a message that cannot be passed on.
_POLICY_VIOLATION = 1008

Socket = web.WebSocketResponse | ClientWebSocketResponse


async def relay(
    parts: Parts,
    request: web.BaseRequest,
    story: Story,
    upstream: Upstream,
    target: Target,
    verdict: Verdict,
    lasting: AbstractAsyncContextManager[None],
) -> web.WebSocketResponse:
    """Open the upstream first, then accept the agent's upgrade; relay until a side, `lasting` or the token ends it."""
    offered = tuple(p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip())
    fields = headers.for_upstream(request.headers, injected=upstream.injected_fields)
    for name in [name for name in fields if name.lower() in _HANDSHAKE]:
        fields.popall(name, None)
    fields["traceparent"] = story.traceparent
    mask = verdict.obligations.mask
    opening = await prepare(parts, target, fields, Content(b"", _TEXT), None, mask, story)
    story.reached_upstream = True
    async with upstream.websocket(opening.path, opening.query, opening.fields, offered, MAX_MESSAGE) as far:
        chosen = (far.protocol,) if far.protocol else ()
        near = web.WebSocketResponse(protocols=chosen, autoping=False, autoclose=False, max_msg_size=MAX_MESSAGE)
        near.headers[OPERATION_FIELD] = story.operation_id
        await near.prepare(request)
        full = verdict.obligations.record == "full"
        outward = _Direction(parts, story, "request", mask.model_copy(update={"response": ()}), full)
        on_reply = mask.model_copy(update={"request": mask.response, "restore": False})
        inward = _Direction(parts, story, "response", on_reply, full, upstream.clean)
        try:
            async with parts.admission.while_good(token_in(request.headers) or ""), lasting:
                code = await _both(outward.pump(near, far), inward.pump(far, near))
            story.finish(Outcome.FORWARDED, status="101")
        except GatewayError as error:  # too late for an HTTP answer: the close frame has to tell
            code = _POLICY_VIOLATION
            story.finish(Outcome.FAILED, status="101", error=error.detail)
        await near.close(code=code)
        await far.close(code=code)
    return near


async def _both(one: Coroutine[Any, Any, int], other: Coroutine[Any, Any, int]) -> int:
    """Run both pumps until one ends; its close code."""
    pumps = TaskGroup("websocket")
    running = {pumps.start(one, "outward"), pumps.start(other, "inward")}
    try:
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        return ended.pop().result()
    finally:
        await pumps.cancel()


class _Direction:
    """From one socket to the other."""

    def __init__(
        self,
        parts: Parts,
        story: Story,
        name: str,
        mask: MaskObligation,
        record: bool,
        clean: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """`clean` is applied to each message first (upstream/http.py)."""
        self._parts, self._story, self._name, self._mask, self._record = parts, story, name, mask, record
        self._clean = clean

    async def pump(self, source: Socket, sink: Socket) -> int:
        """Relay until the source closes; its close code, to be passed on (RFC 6455, section 7.4)."""
        while True:
            message = await source.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                code = source.close_code or 1000
                return code if code in _PASSABLE else 1000
            await self._pass(message, sink)

    async def _pass(self, message: WSMessage, sink: Socket) -> None:
        match message.type:
            case WSMsgType.TEXT:
                await sink.send_str((await self._masked(message.data.encode())).decode())
            case WSMsgType.BINARY:
                await sink.send_bytes(await self._masked(message.data))
            case WSMsgType.PING:
                await sink.ping(message.data)
            case WSMsgType.PONG:
                await sink.pong(message.data)

    async def _known(self, content: Content) -> Mapping[str, str] | None:
        """The values of a message's placeholders, where the rule restores."""
        if not self._mask.restore:
            return None
        return await self._parts.vault.lookup(self._parts.inspector.placeholders(content))

    async def _masked(self, data: bytes) -> bytes:
        data = self._clean(data)
        content = Content(data, _TEXT)
        masked, aside = data, self._parts.aside
        if self._mask.request or self._mask.fields or self._mask.restore:
            known = await self._known(content)
            result = await aside.run(len(data), lambda: self._parts.inspector.mask(content, self._mask, known))
            await self._parts.vault.store(result.pairs)
            self._story.note_masked(self._name, result.counts)
            masked = result.data
        if self._name == "request":
            self._story.request_bytes += len(masked)
        else:
            self._story.response_bytes += len(masked)
        if self._record:
            recorded = await aside.run(len(data), lambda: self._parts.inspector.inspect(content))
            await self._story.frame(self._name, recorded.recorded, "text/plain")
        return masked
