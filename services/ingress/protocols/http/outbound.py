"""What goes to the upstream: the agent's own bytes, or what the verdict's masks leave of them.

Placeholders given out are in the vault before anything is sent, and they are turned back only where a rule says
`restore`. What cannot be masked is not sent (G1). A body beyond the inspection window is masked as it comes; where it
turns out to be unmaskable it breaks off, so that the upstream does not take it for whole. Counterpart: reply.py.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from multidict import CIMultiDict

from schemas.verdicts import MaskObligation
from services.ingress.content import Content
from services.ingress.parts import Parts
from services.ingress.protocols.http import headers
from services.ingress.protocols.http.target import Target
from services.ingress.story import Story
from services.ingress.stream_masker import ReplyMasker
from services.ingress.upstream.http import Body


@dataclass(frozen=True)
class Outbound:
    """A request's target, header fields and body as they are sent."""

    path: str
    query: str
    fields: CIMultiDict[str]
    body: Body
    #: The body's content coding where it is not what the agent said; None where the body is the agent's own.
    coding: str | None = None

    def adjust(self, announced: int | None) -> None:
        """Make the header fields true of this body; `announced` is the agent's Content-Length."""
        fields = self.fields
        if self.coding is not None:
            for name in headers.ABOUT_BYTES:
                fields.popall(name, None)
            if self.coding:
                fields["Content-Encoding"] = self.coding
        elif self.body is not None and not isinstance(self.body, bytes) and announced is not None:
            fields["Content-Length"] = str(announced)


async def prepare(
    parts: Parts,
    target: Target,
    fields: CIMultiDict[str],
    content: Content,
    rest: AsyncIterator[bytes] | None,
    mask: MaskObligation,
    story: Story,
) -> Outbound:
    """Apply the masks. Raises Denied when one cannot be applied, GatewayError when the vault is away."""
    parts.inspector.check(mask)
    if not (mask.request or mask.fields or mask.restore):
        story.request_bytes = len(content.raw)
        body = _joined(content.raw, rest, story) if rest is not None else content.raw or None
        return Outbound(target.path, target.query, fields, body)
    if rest is not None:
        return await _streamed(parts, target, fields, content, rest, mask, story)
    return await _masked(parts, target, fields, content, mask, story)


async def _masked(
    parts: Parts, target: Target, fields: CIMultiDict[str], content: Content, mask: MaskObligation, story: Story
) -> Outbound:
    known = None
    if mask.restore:
        known = await parts.vault.lookup(parts.inspector.placeholders(content, target.path, target.query))
    masked = await parts.aside.run(content.weight, lambda: parts.inspector.mask(content, mask, known))
    head = parts.inspector.outgoing(target.path, target.query, fields, mask, known)
    await parts.vault.store(masked.pairs | head.pairs)
    story.note_masked("request", masked.counts)
    story.note_masked("request", head.counts)
    story.request_bytes = len(masked.data)
    return Outbound(head.path, head.query, head.fields, masked.data or None, masked.coding)


async def _streamed(
    parts: Parts,
    target: Target,
    fields: CIMultiDict[str],
    content: Content,
    rest: AsyncIterator[bytes],
    mask: MaskObligation,
    story: Story,
) -> Outbound:
    """What the window holds is masked before anything is sent: most that cannot be masked shows there."""
    masker = parts.inspector.upload(content.media, content.coding, mask)
    head = parts.inspector.outgoing(target.path, target.query, fields, mask)
    await parts.vault.store(head.pairs)
    first = await _fed(parts, masker, content.raw)
    story.note_masked("request", head.counts)
    return Outbound(head.path, head.query, head.fields, _uploaded(parts, masker, first, rest, story), "")


async def _uploaded(
    parts: Parts, masker: ReplyMasker, first: bytes, rest: AsyncIterator[bytes], story: Story
) -> AsyncIterator[bytes]:
    try:
        story.request_bytes = len(first)
        if first:
            yield first
        async for chunk in rest:
            if data := await _fed(parts, masker, chunk):
                story.request_bytes += len(data)
                yield data
        if last := masker.close():
            await parts.vault.store(masker.take_pairs())
            story.request_bytes += len(last)
            yield last
    finally:
        story.note_masked("request", masker.counts)


async def _fed(parts: Parts, masker: ReplyMasker, data: bytes) -> bytes:
    """What of it may pass now; placeholders in it are in the vault."""
    masked = await parts.aside.run(len(data), lambda: masker.feed(data))
    await parts.vault.store(masker.take_pairs())
    return masked


async def _joined(first: bytes, rest: AsyncIterator[bytes], story: Story) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        story.request_bytes += len(chunk)
        yield chunk
