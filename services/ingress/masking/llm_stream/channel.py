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
    """Masks the fragments of one text; those of a tool call's arguments as the JSON document they make up."""

    def __init__(self, key: Key, scanner: Scanner, replacer: Replacer) -> None:
        self._document = json_masker(scanner, replacer) if is_document(key[-1]) else None
        self._text = StreamMasker(scanner, replacer)

    @property
    def counts(self) -> dict[str, int]:
        return self._document.counts if self._document else self._text.counts

    @property
    def held(self) -> int:
        """How much is held back, in bytes."""
        return self._document.held if self._document else self._text.held

    def feed(self, text: str) -> str:
        """What may pass once `text` has come. Raises MaskingError."""
        return decode(self._document.feed(encode(text))) if self._document else self._text.feed(text)

    def close(self) -> str:
        """The rest. Raises MaskingError."""
        return decode(self._document.close()) if self._document else self._text.close()


def json_masker(scanner: Scanner, replacer: Replacer) -> FlowMasker:
    """A masker for one JSON document."""
    return FlowMasker(JsonLexer(teller(scanner, b'"')), scanner, replacer)
