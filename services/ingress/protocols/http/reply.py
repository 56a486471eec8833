"""The upstream's reply on its way to the agent: fields rewritten, body streamed, masked and recorded.

Nothing is held whole. A reply that must be masked is asked for without content coding; one that comes encoded all
the same is not passed on (G1).
"""

from collections.abc import AsyncIterator

import structlog
from aiohttp import ClientResponse, web
from multidict import CIMultiDict

from schemas.verdicts import MaskObligation, Verdict
from services.ingress.content import Content, coding_of, media_type
from services.ingress.errors import GatewayError
from services.ingress.parts import Parts
from services.ingress.protocols.http import headers
from services.ingress.protocols.http.replies import OPERATION_FIELD
from services.ingress.recorded_reply import ReplyRecord
from services.ingress.story import Story
from services.ingress.stream_masker import ReplyMasker
from services.ingress.upstream.http import Upstream

log = structlog.get_logger(__name__)

#: Recorded in place of a reply that a detector failed on.
UNINSPECTED = "[content that could not be inspected]"
#: Replies up to this size are sent in one write, head and body together.
SMALL = 64 * 1024
#: RFC 9110, section 6.4.1: these have no content.
_WITHOUT_BODY = frozenset({204, 304})


def negotiate_coding(fields: CIMultiDict[str], verdict: Verdict) -> None:
    """Ask the upstream only for what we can read where we have to: known codings, and whole bodies."""
    mask = verdict.obligations.mask
    if mask.response or mask.fields:
        fields["Accept-Encoding"] = "identity"
        for name in ("Range", "If-Range"):  # two ranges could hold half of a value each
            fields.popall(name, None)
    elif verdict.obligations.record == "full" and "Accept-Encoding" in fields:
        offered = fields["Accept-Encoding"].lower()
        fields["Accept-Encoding"] = ", ".join(c for c in ("gzip", "deflate") if c in offered) or "identity"


async def send(
    parts: Parts, request: web.BaseRequest, answer: ClientResponse, upstream: Upstream, story: Story, verdict: Verdict
) -> web.StreamResponse:
    """Pass the reply on; returns it once it is sent. Raises UpstreamError, or GatewayError when it cannot be masked."""
    mask = verdict.obligations.mask
    fields = await _masked_fields(parts, _fields(answer, upstream, story), mask, story)
    if request.method == "HEAD" or answer.status in _WITHOUT_BODY:
        return await _send_head(request, answer, fields)
    media, coding = media_type(answer.headers.get("Content-Type", "")), coding_of(answer.headers)
    action = story.attempt.operation.action if story.attempt else ""
    masker = parts.inspector.reply(media, coding, mask, action)
    if masker:
        for name in (*headers.ABOUT_BYTES, "Accept-Ranges"):
            fields.popall(name, None)
    window = parts.settings.limits.inspection_window if verdict.obligations.record == "full" else 0
    record = ReplyRecord(media, coding, window)
    complete = False
    try:
        if masker is None and (answer.content_length or SMALL) < SMALL:
            body = await _whole(answer, upstream, record)
            complete = True
            return await _send_small(request, answer, fields, body, story)
        chunks = _recorded(upstream.chunks(answer), record)
        sent = await _send_stream(parts, request, answer, fields, chunks, masker, story)
        complete = True
        return sent
    finally:
        if masker:
            story.note_masked("response", masker.counts)
        if record.size:
            await _record(parts, story, upstream, record, complete=complete)


async def _send_head(request: web.BaseRequest, answer: ClientResponse, fields: CIMultiDict[str]) -> web.StreamResponse:
    """A reply without content; for HEAD, Content-Length says what a GET would have (RFC 9110, section 9.3.2)."""
    response = web.StreamResponse(status=answer.status, headers=fields)
    if request.method == "HEAD" and answer.content_length is not None:
        response.content_length = answer.content_length
    elif answer.status not in _WITHOUT_BODY:
        response.content_length = 0
    await response.prepare(request)
    await response.write_eof()
    return response


async def _whole(answer: ClientResponse, upstream: Upstream, record: ReplyRecord) -> bytes:
    """A small body, to its end."""
    body = upstream.arrived(answer)
    if body is None:
        return b"".join([chunk async for chunk in _recorded(upstream.chunks(answer), record)])
    record.keep(body)
    return body


async def _send_small(
    request: web.BaseRequest, answer: ClientResponse, fields: CIMultiDict[str], body: bytes, story: Story
) -> web.StreamResponse:
    story.response_bytes = len(body)
    response = web.Response(status=answer.status, body=body, headers=fields)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _send_stream(
    parts: Parts,
    request: web.BaseRequest,
    answer: ClientResponse,
    fields: CIMultiDict[str],
    chunks: AsyncIterator[bytes],
    masker: ReplyMasker | None,
    story: Story,
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=fields)
    if masker is None and answer.content_length is not None:
        response.content_length = answer.content_length
    elif request.version >= (1, 1):
        response.enable_chunked_encoding()
    else:
        response.force_close()
    await response.prepare(request)
    try:
        async for chunk in chunks:
            await _write(response, await _masked(parts, masker, chunk) if masker else chunk, story)
        if masker:
            await _write(response, await _stored(parts, masker, masker.close()), story)
    except BaseException:
        # The head is out: what went wrong can only be shown by breaking off (RFC 9112, section 8).
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response


async def _masked(parts: Parts, masker: ReplyMasker, chunk: bytes) -> bytes:
    """What of it may pass now. Raises GatewayError when nothing more may."""
    return await _stored(parts, masker, await parts.aside.run(len(chunk), lambda: masker.feed(chunk)))


async def _stored(parts: Parts, masker: ReplyMasker, data: bytes) -> bytes:
    """What placeholders in it stand for is in the vault before it goes out. Raises GatewayError when it is not."""
    if pairs := masker.take_pairs():
        await parts.vault.store(pairs)
    return data


async def _write(response: web.StreamResponse, data: bytes, story: Story) -> None:
    if data:
        story.response_bytes += len(data)
        await response.write(data)


def _fields(answer: ClientResponse, upstream: Upstream, story: Story) -> CIMultiDict[str]:
    base, connector = upstream.settings.upstream, upstream.connector.name
    fields = upstream.scrub_fields(headers.for_agent(answer.headers))
    for name in ("Location", "Content-Location"):
        if name in fields:
            fields[name] = headers.rewrite_location(fields[name], upstream=base, connector=connector)
    if cookies := fields.popall("Set-Cookie", []):
        for cookie in cookies:
            fields.add("Set-Cookie", headers.rewrite_cookie(cookie, upstream=base, connector=connector))
    fields.setdefault("Server", "countersign")
    fields[OPERATION_FIELD] = story.operation_id
    return fields


async def _masked_fields(
    parts: Parts, fields: CIMultiDict[str], mask: MaskObligation, story: Story
) -> CIMultiDict[str]:
    """What the rule leaves of them. Raises GatewayError when they cannot be masked, or the vault is away."""
    head = parts.inspector.incoming(fields, mask)
    if head.pairs:
        await parts.vault.store(head.pairs)
    story.note_masked("response", head.counts)
    return head.fields


async def _recorded(chunks: AsyncIterator[bytes], record: ReplyRecord) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        record.keep(chunk)
        yield chunk


async def _record(parts: Parts, story: Story, upstream: Upstream, record: ReplyRecord, *, complete: bool) -> None:
    """The masked reply as a frame. It has been sent by now, so nothing here may raise: that would answer twice."""
    content = record.content(complete=complete)
    if content.coding and content.plain is not None:  # what a coding hid from upstream/http.py is seen here
        content = Content(upstream.clean(content.plain), content.media, complete=content.complete)
    try:
        recorded, truncated = await parts.aside.run(
            content.weight, lambda: record.finish(parts.inspector, content, complete=complete)
        )
    except GatewayError as error:
        log.error("a reply could not be inspected for the record", reason=error.detail, operation_id=story.operation_id)
        recorded, truncated = UNINSPECTED, not complete
    await story.frame("response", recorded, content.media.name, truncated=truncated)
