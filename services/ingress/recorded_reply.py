"""A reply kept for the record while it passes by. Pure.

    any reply         its first bytes, as many as the inspection window holds
    a model's stream  beyond the window: the answer it makes, put together as it comes, for a token takes some 300
                      bytes on the wire and its usage stands at the end

Counterpart: `protocols/http/reply`, which sends the reply on.
"""

from services.ingress.content import Content, MediaType
from services.ingress.inspection import OPAQUE, Inspector
from services.ingress.masking.llm_stream.reassemble import Reassembly
from services.ingress.recorded_content import is_stream

#: Characters of an answer that are kept: escaped as JSON, with its facts, it still fits into a frame of 256 KiB.
ANSWER_LIMIT = 192 * 1024


class ReplyRecord:
    """Takes a reply's bytes as they are sent on."""

    def __init__(self, media: MediaType, coding: str, window: int) -> None:
        """Keeps `window` bytes, none for 0."""
        self._media = media
        self._coding = coding
        self._window = window
        self._parts: list[bytes] = []
        self._size = 0
        self._cut = False
        self._answer: Reassembly | None = None

    @property
    def size(self) -> int:
        """Bytes kept: what `finish` has to read."""
        return self._size

    def keep(self, chunk: bytes) -> None:
        """Take what was sent on."""
        if self._answer is not None:
            self._answer.feed(chunk)
            return
        if (room := self._window - self._size) > 0:
            self._parts.append(chunk[:room])
            self._size += len(self._parts[-1])
        if self._window and not self._cut and len(chunk) > room:
            self._begin_answer(chunk[max(0, room) :])
        self._cut = self._cut or len(chunk) > room

    def content(self, *, complete: bool) -> Content:
        """The kept bytes; not `complete` when the reply broke off."""
        return Content(b"".join(self._parts), self._media, self._coding, complete=complete and not self._cut)

    def finish(self, inspector: Inspector, content: Content, *, complete: bool) -> tuple[str, bool]:
        """The masked text to record, and whether something is missing. Raises GatewayError when a detector fails.

        `content` is what `content` gave, with the gateway's own credential taken out of what a coding hid.
        """
        if self._answer is not None and (answer := self._answer.answer(complete=complete)) is not None:
            whole = complete and not self._answer.cut
            return inspector.inspect_answer(answer, complete=whole).recorded, not whole
        recorded = OPAQUE if content.opaque else inspector.inspect_reply(content).recorded
        return recorded, not content.complete

    def _begin_answer(self, rest: bytes) -> None:
        kept = b"".join(self._parts)
        if self._coding or not is_stream(self._media, kept):
            return
        answer = Reassembly(ANSWER_LIMIT)
        answer.feed(kept)
        if answer.known:
            answer.feed(rest)
            self._answer = answer
