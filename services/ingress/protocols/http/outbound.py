"""What goes to the upstream: the agent's own bytes, or what the verdict's masks leave of them.

Placeholders given out are in the vault before anything is sent, and they are turned back only where a rule says
`restore`. What cannot be masked is not sent (G1). Counterpart: reply.py, the way back.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from multidict import CIMultiDict

from schemas.verdicts import MaskObligation
from services.ingress.content import Content
from services.ingress.errors import denied
from services.ingress.parts import Parts
from services.ingress.protocols.http.target import Target
from services.ingress.story import Story
from services.ingress.upstream.http import Body


@dataclass(frozen=True)
class Outbound:
    """A request's target, header fields and body as they are sent."""

    path: str
    query: str
    fields: CIMultiDict[str]
    body: Body
    #: The body's content coding where it is not what the agent said; None where it is.
    coding: str | None = None

    def adjust(self, announced: int | None) -> None:
        """Make the header fields true of this body; `announced` is the agent's Content-Length."""
        fields = self.fields
        if self.coding is not None:
            fields.popall("Content-Encoding", None)
            if self.coding:
                fields["Content-Encoding"] = self.coding
        if self.body is not None and not isinstance(self.body, bytes) and announced is not None:
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
        raise denied("the body is too large to be masked", (), code="mask_failed")
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


async def _joined(first: bytes, rest: AsyncIterator[bytes], story: Story) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        story.request_bytes += len(chunk)
        yield chunk
