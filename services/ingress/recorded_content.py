"""A body as it may be recorded: read as what it is, each value replaced by its label and keyed hash (G4). Pure.

Where content breaks off, what may be the first half of a value is left out.
Counterparts: `inspection.Inspector`, which masks what is passed on; `head_inspection` for what stands before a body.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from services.ingress.content import Content, MediaType
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream.channel import Channel
from services.ingress.masking.llm_stream.limits import PREAMBLE_LIMIT
from services.ingress.masking.llm_stream.reassemble import FACTS, reassemble
from services.ingress.masking.llm_stream.splice import parse, write
from services.ingress.masking.llm_stream.sse import opens_stream
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner
from services.ingress.masking.structure.document import Rules, masker_for, passes_untouched
from services.ingress.masking.text import mask_text


@dataclass(frozen=True)
class Recorded:
    """Masked text for the record, and what was found in it by entity."""

    recorded: str
    findings: Counter[str] = field(default_factory=Counter)


class Recording:
    """Masks what is recorded. Every method raises MaskingError when a detector fails."""

    def __init__(self, scanner: Scanner, replacer: Replacer) -> None:
        """`scanner` looks for everything there is; `replacer` is to leave no pairs behind."""
        self._scanner = scanner
        self._replacer = replacer
        self._rules = Rules(scanner, replacer)

    def reply(self, content: Content) -> Recorded:
        """The body of a reply; a model's stream as the answer it makes."""
        data = _utf8(content)
        if is_stream(content.media, data) and (answer := reassemble(data, complete=content.complete)) is not None:
            return self.answer(answer, complete=content.complete)
        return self.content(content)

    def content(self, content: Content) -> Recorded:
        """A body that can be read, all of it: of what an agent sends nothing may be left out."""
        data = _utf8(content)
        try:
            return self._document(content.media.name, data, complete=content.complete)
        except MaskingError:  # not what its type says; the reader of JSON takes any text, and undoes escapes in it
            return self._document("application/json", data, complete=content.complete)

    def answer(self, answer: dict[str, Any], *, complete: bool) -> Recorded:
        """A reassembled answer; each text is masked by itself, as it was for the agent."""
        counts: Counter[str] = Counter()
        shown: dict[str, Any] = {}
        for name, value in answer.items():
            if isinstance(value, str):
                masker = Channel((name.rpartition(".")[2],), self._scanner, self._replacer)
                # Without its end, what is held back may be the first half of a value.
                shown[self._name(name)] = masker.feed(value) + (masker.close() if complete or name in FACTS else "")
                counts.update(masker.counts)
            else:
                recorded = self.value(value)
                shown[self._name(name)] = parse(recorded.recorded.encode())[1]
                counts += recorded.findings
        return Recorded(write(shown), counts)

    def value(self, value: Any) -> Recorded:
        """Any JSON value."""
        return self._document("application/json", write(value).encode(), complete=True)

    def _name(self, name: str) -> str:
        return mask_text(name, self._scanner, self._replacer)[0]

    def _document(self, media_type: str, data: bytes, *, complete: bool) -> Recorded:
        if complete and passes_untouched(data, media_type, self._rules):
            return Recorded(data.decode("utf-8", "replace"))
        masker = masker_for(media_type, self._rules)
        masked = masker.feed(data)
        if complete:  # else what is still open at the cut may be the first half of a value
            masked += masker.close()
        return Recorded(masked.decode("utf-8", "replace"), Counter(masker.counts))


def _utf8(content: Content) -> bytes:
    return (content.text or "").encode("utf-8", "surrogatepass")


def is_stream(media: MediaType, data: bytes) -> bool:
    """Whether a reply is a stream of events: by its bytes as well, for that is how clients read a model's."""
    if media.is_event_stream:
        return True
    start = data[: 2 * PREAMBLE_LIMIT].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start[:1] in (b"d", b"e", b"i", b"r", b":") and bool(opens_stream(start, final=True))


def masked_whole(data: bytes, media_type: str, charset: str, rules: Rules, counts: Counter[str]) -> bytes:
    """A whole document masked by these rules; what was found is added to `counts`."""
    masker = masker_for(media_type, rules, charset)
    masked = masker.feed(data) + masker.close()
    counts.update(masker.counts)
    return masked
