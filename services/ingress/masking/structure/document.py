"""Which masker reads a body: by its declared type, and by its first character before that.

The bytes decide, for a client may parse what was declared as something else; a type never hides a document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream.masker import EventStreamMasker
from services.ingress.masking.llm_stream.sse import Lines, opens_stream
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner
from services.ingress.masking.structure.fields import FieldMasker
from services.ingress.masking.structure.flow import FlowMasker
from services.ingress.masking.structure.form_lexer import FormLexer
from services.ingress.masking.structure.json_lexer import JsonLexer
from services.ingress.masking.structure.markup_lexer import UNSEEN, MarkupLexer
from services.ingress.masking.structure.multipart import PartsMasker
from services.ingress.masking.structure.plain_lexer import PlainLexer
from services.ingress.masking.structure.telling import teller
from services.ingress.masking.structure.wrapped import UTF8, Chain, Inflating, Masker, TextOnly, Transcoding
from services.ingress.masking.text import BytesStreamMasker

_JSON = re.compile(rb"\s*(?:\{|\"|\[\s*[\[{\"\d\]\-tfn])")
_JSON_TYPE = re.compile(r"application/json|.*\+json")
_LINES_TYPE = re.compile(r"application/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines)")
_EVENTS = "text/event-stream"
_MARKUP_TYPES = frozenset({"text/html", "text/xml", "application/xml"})
_FORM = "application/x-www-form-urlencoded"
#: How a stream of events may begin: with `data:`, `event:`, `id:`, `retry:` or a comment.
_EVENT_STARTS = b"deir:"
#: What may precede a document's first character: a byte order mark and white space.
_LEAD = b"\xef\xbb\xbf \t\r\n"
#: How much of it; more is text.
_LEAD_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Rules:
    """What to mask and how. `hidden` are fields that only repeat what is masked, and are not counted.

    `streams` are told by their bytes: replies, for clients read a model's events whatever they are declared as.
    `name` is that of the field whose text this is, and may tell what it is.
    """

    scanner: Scanner
    replacer: Replacer
    fields: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    pass_binary: bool = False
    streams: bool = False
    name: bytes = b""


def masker_for(media_type: str, rules: Rules, charset: str = "utf-8", coding: str = "") -> Masker:
    """A masker of a body of this type, for whole bodies and streams alike. Raises MaskingError when there is none."""
    masker: Masker
    if media_type.startswith("multipart/"):
        masker = _parts(rules)
    elif charset in UTF8:
        pass_binary = rules.pass_binary and not _is_text(media_type)
        masker = TextOnly(_Sniffing(media_type, rules), pass_binary=pass_binary)
    else:
        masker = Transcoding(charset, _Sniffing(media_type, rules))
    return Inflating(coding, masker) if coding else masker


def _is_text(media_type: str) -> bool:
    """Whether it is declared as text: then one odd byte is no reason to let the rest pass unread."""
    if media_type.startswith("text/") or media_type == _FORM or _is_markup(media_type, b""):
        return True
    return bool(_JSON_TYPE.fullmatch(media_type) or _LINES_TYPE.fullmatch(media_type))


def _parts(rules: Rules) -> PartsMasker:
    rules = replace(rules, streams=False)
    in_head = Rules(rules.scanner, rules.replacer)
    return PartsMasker(
        lambda media_type, name: masker_for(media_type, replace(rules, name=name)),
        lambda: masker_for("text/plain", in_head),
    )


def passes_untouched(data: bytes, media_type: str, rules: Rules) -> bool:
    """Whether a whole body of UTF-8 text is sure to pass as it is: nothing in it is escaped, and nothing is found.

    A quick answer for what most bodies are; False says nothing. Raises MaskingError when a detector fails.
    """
    if rules.fields or rules.hidden or media_type == _EVENTS or media_type.startswith("multipart/"):
        return False
    escaped = (b"%" in data or b"+" in data) if media_type == _FORM else (b"\\" in data or b"&" in data)
    if escaped:
        return False
    if _is_markup(media_type, data.lstrip(_LEAD)[:1]):  # an element may tell more than its text alone does
        return (data.isascii() or not UNSEEN.search(data)) and not rules.scanner.places(data)
    return not rules.scanner.spans(data)


def _is_markup(media_type: str, first: bytes) -> bool:
    return first == b"<" or media_type in _MARKUP_TYPES or media_type.endswith("+xml")


class _Sniffing:
    """Waits for the first character, then hands over to the masker that reads such documents."""

    def __init__(self, media_type: str, rules: Rules) -> None:
        self._media_type = media_type
        self._rules = rules
        self._lead = b""
        self._masker: Masker | None = None

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts if self._masker else {}

    def feed(self, data: bytes) -> bytes:
        if self._masker:
            return self._masker.feed(data)
        self._lead += data
        start = self._lead.lstrip(_LEAD)
        if not start.strip(b"[ \t\r\n") and len(self._lead) < _LEAD_LIMIT:
            return b""
        is_stream = self._is_stream(start, final=False)
        return b"" if is_stream is None else self._decided(start, is_stream=is_stream)

    def close(self) -> bytes:
        if self._masker:
            return self._masker.close()
        is_stream = bool(self._is_stream(self._lead.lstrip(_LEAD), final=True))
        lead = self._decided(self._lead, is_stream=is_stream)
        return lead + self._masker.close() if self._masker else lead

    def _is_stream(self, start: bytes, *, final: bool) -> bool | None:
        if not self._rules.streams or not start or start[0] not in _EVENT_STARTS or self._media_type == _EVENTS:
            return False
        return opens_stream(start, final=final)

    def _decided(self, start: bytes, *, is_stream: bool) -> bytes:
        if is_stream:
            self._masker = EventStreamMasker(self._rules.scanner, self._rules.replacer, self._rules.fields)
        else:
            self._masker = _reader(self._media_type, start, self._rules)
        lead, self._lead = self._lead, b""
        return self._masker.feed(lead)


def _reader(media_type: str, start: bytes, rules: Rules) -> Masker:
    scanner, replacer = rules.scanner, rules.replacer
    if media_type == _EVENTS:
        return EventStreamMasker(scanner, replacer, rules.fields)
    if _LINES_TYPE.fullmatch(media_type):
        return EventStreamMasker(scanner, replacer, rules.fields, Lines())
    if _JSON_TYPE.fullmatch(media_type) or (_JSON.match(start) and not (rules.name and start[:1] == b'"')):
        is_json = _JSON_TYPE.fullmatch(media_type) or start[:1] == b"{"
        return _json(rules if is_json else replace(rules, hidden=()))
    if rules.fields and start:
        raise MaskingError("the content is not JSON, so its fields cannot be masked")
    if media_type == _FORM:
        return FlowMasker(FormLexer(teller(scanner)), scanner, replacer)
    if _is_markup(media_type, start[:1]):
        return FlowMasker(MarkupLexer(teller(scanner, b"</"), teller(scanner, b'"')), scanner, replacer)
    if rules.name:
        context = rules.name + b"="
        return FlowMasker(PlainLexer(told=teller(scanner)(context)), scanner, replacer, context)
    return BytesStreamMasker(scanner, replacer)


def _json(rules: Rules) -> Masker:
    masker: Masker = FlowMasker(JsonLexer(teller(rules.scanner, b'"')), rules.scanner, rules.replacer)
    if rules.fields:
        masker = Chain(FieldMasker(rules.fields, rules.replacer), masker)
    if rules.hidden:
        masker = Chain(_Uncounted(FieldMasker(rules.hidden, Replacer())), masker)
    return masker


class _Uncounted:
    """A masker whose work is no finding."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self.counts: dict[str, int] = {}

    def feed(self, data: bytes) -> bytes:
        return self._masker.feed(data)

    def close(self) -> bytes:
        return self._masker.close()
