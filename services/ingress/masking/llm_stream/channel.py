"""One text that is streamed in deltas: what of it may pass now, and what is still held back."""

from __future__ import annotations

from services.ingress.masking.llm_stream.shapes import Key, is_document
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner, decode, encode
from services.ingress.masking.structure.flow import FlowMasker
from services.ingress.masking.structure.json_lexer import JsonLexer
from services.ingress.masking.structure.telling import teller
from services.ingress.masking.text import StreamMasker


class Channel:
    """Masks the fragments of one text. What its first character opens as JSON is masked as the document it becomes:
    a tool call's arguments, or an answer in a JSON schema."""

    def __init__(self, key: Key, scanner: Scanner, replacer: Replacer) -> None:
        self._scanner = scanner
        self._replacer = replacer
        self._opens = "{[" if is_document(key[-1]) else "{"
        self._masker: StreamMasker | FlowMasker | None = None

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts if self._masker else {}

    @property
    def held(self) -> int:
        """How much is held back, in bytes."""
        return self._masker.held if self._masker else 0

    def feed(self, text: str) -> str:
        """What may pass once `text` has come. Raises MaskingError."""
        if self._masker is None:
            start = text.lstrip()
            if not start:
                return text  # white space is no part of a value
            self._masker = self._chosen(start[0])
        if isinstance(self._masker, StreamMasker):
            return self._masker.feed(text)
        return decode(self._masker.feed(encode(text)))

    def close(self) -> str:
        """The rest. Raises MaskingError."""
        if self._masker is None:
            return ""
        rest = self._masker.close()
        return rest if isinstance(rest, str) else decode(rest)

    def _chosen(self, first: str) -> StreamMasker | FlowMasker:
        if first in self._opens:
            return json_masker(self._scanner, self._replacer)
        return StreamMasker(self._scanner, self._replacer)


def json_masker(scanner: Scanner, replacer: Replacer) -> FlowMasker:
    """A masker for one JSON document."""
    return FlowMasker(JsonLexer(teller(scanner, b'"')), scanner, replacer)
