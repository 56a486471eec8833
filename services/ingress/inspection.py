"""Content between the protocols and the masking package: what is found, what is recorded, what is passed on.

Everything recorded is masked first with every entity there is, each value replaced by its label and keyed hash, so
that auditors can match without reading (G4). What is passed on is masked as the rule says, or not at all passed (G1).
How content of each kind is read is in `masking.structure`, and `masking.llm_stream` for what models stream.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.verdicts import MaskObligation
from services.ingress.classify.llm import texts_by_role
from services.ingress.classify.sql.operation import Bind
from services.ingress.content import ASCII_BASED, READABLE, Content, MediaType
from services.ingress.errors import Denied, GatewayError, denied
from services.ingress.masking.entities import ENTITIES, CustomPattern
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream.channel import Channel
from services.ingress.masking.llm_stream.reassemble import reassemble
from services.ingress.masking.llm_stream.splice import parse, write
from services.ingress.masking.replace import Replacer, tokens
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.masking.rows.fields import CopyFormat, Field
from services.ingress.masking.rows.row import RowMasker
from services.ingress.masking.rows.telling import NoticeMasker
from services.ingress.masking.scanner import Scanner, scanner_for
from services.ingress.masking.structure.document import Rules, masker_for, passes_untouched
from services.ingress.masking.structure.flow import mask_document
from services.ingress.masking.structure.form_lexer import FormLexer
from services.ingress.masking.structure.multipart import mask_parts
from services.ingress.masking.structure.restoring import restore_document, restore_target
from services.ingress.masking.structure.telling import teller
from services.ingress.masking.structure.wrapped import UTF8
from services.ingress.masking.text import mask_text
from services.ingress.sql_inspection import recorded_statement
from services.ingress.stream_masker import ReplyMasker, Telling

#: Recorded in place of content that cannot be read.
OPAQUE = "[content that is not text]"
#: Members of a model's reply that spell its text out token by token, so that no detector sees a value in them.
_TOKEN_BY_TOKEN = ("$..logprobs", "$..logprobsResult")


@dataclass(frozen=True)
class Recorded:
    """Masked text for the record, and what was found in it by entity."""

    recorded: str
    findings: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class RecordedParameters:
    """The same for query parameters."""

    recorded: dict[str, str]
    findings: Counter[str]


@dataclass(frozen=True)
class Masked:
    """Content to pass on, and how many values were replaced by entity."""

    data: bytes
    counts: dict[str, int]
    #: The content coding the data is still in: only of a body that could not be read and that a rule lets pass.
    coding: str = ""
    #: Placeholder to value: to be stored before the data goes out (services/ingress/vault.py).
    pairs: dict[str, str] = field(default_factory=dict)


class Inspector:
    """Finds and masks. `key` makes hashes and tokens the same for the same value at every ingress.

    `custom` patterns and `deny_words` are looked for besides whatever a rule names.
    """

    def __init__(self, key: bytes, custom: tuple[CustomPattern, ...] = (), deny_words: tuple[str, ...] = ()) -> None:
        self._key = key
        self._own = custom, deny_words
        self._everything = self._scanner(ENTITIES)
        #: For the record; hashes leave no pairs behind, so that one serves every request.
        self._hashing = Replacer("hash", key)

    def inspect(self, content: Content) -> Recorded:
        """A body as it may be recorded; a model's stream as the answer it makes. Raises Denied if a detector fails."""
        if content.opaque:
            return Recorded(OPAQUE)
        if not content.raw:
            return Recorded("")
        try:
            return self._recorded(content)
        except MaskingError as error:
            raise mask_failed(error) from error

    def line(self, text: str) -> Recorded:
        """Any text as it may be recorded. Raises Denied when a detector fails."""
        if not text:
            return Recorded("")
        try:
            masked, counts = mask_text(text, self._everything, self._hashing)
        except MaskingError as error:
            raise mask_failed(error) from error
        return Recorded(masked, Counter(counts)) if counts else Recorded(masked)

    def parameters(self, parameters: dict[str, str]) -> RecordedParameters:
        """Query parameters as they may be recorded; `name=value` is scanned whole, as it may be what tells."""
        findings: Counter[str] = Counter()
        recorded: dict[str, str] = {}
        for name, value in parameters.items():
            line = self.line(f"{name}={value}")
            findings += line.findings
            shown_name, _, shown = line.recorded.partition("=")
            recorded[shown_name] = shown
        return RecordedParameters(recorded, findings)

    def by_role(self, content: Content) -> dict[str, dict[str, int]]:
        """What was found in a request to a model, by role and entity. Raises Denied when a detector fails."""
        found: dict[str, Counter[str]] = {}
        for role, text in texts_by_role(content.json):
            findings = self.line(text).findings
            if findings:
                found[role] = found.get(role, Counter()) + findings
        return {role: dict(counts) for role, counts in found.items()}

    def mask(self, content: Content, mask: MaskObligation, known: Mapping[str, str] | None = None) -> Masked:
        """A whole body as it may be passed on; `known` are the values of its placeholders, for `restore`.

        Raises Denied when it cannot be masked, or placeholders are to be restored and nobody looked them up.
        """
        if not content.raw:
            return Masked(b"", {})
        if mask.restore and known is None:
            raise denied("placeholders cannot be restored: there is no vault", (), code="mask_failed")
        if content.plain is None:
            if mask.binary == "pass":
                return Masked(content.raw, {}, content.coding)
            raise denied("the body's content coding cannot be undone", (), code="mask_failed")
        try:
            return self._masked(content, mask, known or {})
        except MaskingError as error:
            raise mask_failed(error) from error

    def check(self, mask: MaskObligation) -> None:
        """Raise Denied for an entity nobody knows: before anything is sent, for the reply's mask as well."""
        try:
            for names in (mask.request, mask.response):
                self._scanner(names)
        except MaskingError as error:
            raise mask_failed(error) from error

    def warm(self) -> None:
        """Compile what most rules ask for (some tenths of a second), so that no request waits for it."""
        for names in ((), ("secrets",), ("pii",), ("financial",), ("secrets", "pii"), ("secrets", "pii", "financial")):
            self._scanner(names)

    def placeholders(self, content: Content, path: str = "", query: str = "") -> frozenset[str]:
        """The placeholders in a request: what to look up before `mask` and `target` when the rule restores."""
        return tokens(content.text or "") | tokens(path) | tokens(query)

    def target(
        self,
        path: str,
        query: str,
        mask: MaskObligation,
        known: Mapping[str, str] | None = None,
        pairs: dict[str, str] | None = None,
    ) -> tuple[str, str]:
        """Path and query as they may be passed on; untouched where nothing is found.

        `known` as for `mask`; placeholders given out are added to `pairs`. Raises Denied when a detector fails.
        """
        try:
            replacer = self._replacer(mask)
            if mask.request:
                scanner = self._scanner(mask.request)
                path = _masked_line(path, FormLexer(teller(scanner), plus=False), scanner, replacer)
                query = _masked_line(query, FormLexer(teller(scanner)), scanner, replacer)
        except MaskingError as error:
            raise mask_failed(error) from error
        if pairs is not None:
            pairs |= replacer.take_pairs()
        if mask.restore and known:
            path, query = restore_target(path, query, known)
        return path, query

    def reply(self, media: MediaType, coding: str, mask: MaskObligation, action: str = "") -> ReplyMasker | None:
        """A masker for a reply of this type, None when nothing is to be masked. Raises GatewayError when it cannot.

        `action` tells a model's reply, in which the tokens' probabilities are left out.
        """
        if not (mask.response or mask.fields):
            return None
        hidden = _TOKEN_BY_TOKEN if action.startswith("llm.") and mask.response else ()
        try:
            rules = self._rules(mask.response, mask, hidden)
            charset = _streamed(media, READABLE)
            return Telling(masker_for(media.name, rules, charset, coding), rules.replacer, _unmaskable)
        except MaskingError as error:
            raise _unmaskable(error) from error

    def upload(self, media: MediaType, coding: str, mask: MaskObligation) -> ReplyMasker:
        """A masker for a request's body that is too large to be held whole; its errors are Denied.

        Raises Denied for what only a whole body can be masked for: multipart content, and `restore`.
        """
        if mask.restore or media.name.startswith("multipart/"):
            raise denied("the body is too large to be masked", (), code="mask_failed")
        try:
            rules = self._rules(mask.request, mask)
            charset = _streamed(media, ASCII_BASED)
            return Telling(masker_for(media.name, rules, charset, coding), rules.replacer, mask_failed)
        except MaskingError as error:
            raise mask_failed(error) from error

    def statement(self, text: str, binds: Sequence[Bind] = ()) -> Recorded:
        """An SQL statement and its bind values as they may be recorded. Raises Denied when a detector fails."""
        return Recorded(*recorded_statement(text, binds, self.line))

    def rows(self, fields: Sequence[Field], hidden: frozenset[int], mask: MaskObligation) -> RowMasker | None:
        """A masker for the rows of a result, None when they pass as they are; `hidden` columns are masked whole."""
        if not (hidden or mask.response):
            return None
        return RowMasker(fields, hidden, self._response_scanner(mask), self._replacer(mask))

    def copy_out(self, form: CopyFormat, hidden: frozenset[int], mask: MaskObligation) -> CopyMasker | None:
        """The same for what COPY … TO STDOUT sends."""
        if not (hidden or mask.response):
            return None
        return CopyMasker(form, hidden, self._response_scanner(mask), self._replacer(mask))

    def notices(self, mask: MaskObligation) -> NoticeMasker | None:
        """A masker for errors, notices and notifications, None when nothing is to be masked."""
        if not (mask.columns or mask.response):
            return None
        return NoticeMasker(bool(mask.columns), self._response_scanner(mask), self._replacer(mask))

    def _response_scanner(self, mask: MaskObligation) -> Scanner | None:
        return self._scanner(mask.response) if mask.response else None

    def _recorded(self, content: Content) -> Recorded:
        data = (content.text or "").encode("utf-8", "surrogatepass")
        if content.media.is_event_stream and (answer := reassemble(data, complete=content.complete)) is not None:
            return self._recorded_answer(answer)
        try:
            return self._recorded_as(content.media.name, data, complete=content.complete)
        except MaskingError:  # not what its type says; the reader of JSON takes any text, and undoes escapes in it
            return self._recorded_as("application/json", data, complete=content.complete)

    def _recorded_answer(self, answer: dict[str, Any]) -> Recorded:
        """A reassembled answer; each text is masked by itself, as it was for the agent."""
        counts: Counter[str] = Counter()
        shown: dict[str, Any] = {}
        for name, value in answer.items():
            if isinstance(value, str):
                masker = Channel((name.rpartition(".")[2],), self._everything, self._hashing)
                shown[name] = masker.feed(value) + masker.close()
                counts.update(masker.counts)
            else:
                recorded = self._recorded_as("application/json", write(value).encode(), complete=True)
                shown[name] = parse(recorded.recorded.encode())[1]
                counts += recorded.findings
        return Recorded(write(shown), counts)

    def _recorded_as(self, media_type: str, data: bytes, *, complete: bool) -> Recorded:
        rules = Rules(self._everything, self._hashing)
        counts: Counter[str] = Counter()
        if complete and passes_untouched(data, media_type, rules):
            return Recorded(data.decode("utf-8", "replace"))
        if media_type.startswith("multipart/") and complete:
            masked = _masked_parts(data, rules, counts)
        else:
            masker = masker_for(media_type, rules)
            masked = masker.feed(data)
            if complete:  # else what is still open at the cut may be the first half of a value
                masked += masker.close()
            counts.update(masker.counts)
        return Recorded(masked.decode("utf-8", "replace"), counts)

    def _masked(self, content: Content, mask: MaskObligation, known: Mapping[str, str]) -> Masked:
        rules = self._rules(mask.request, mask)
        data, media = content.plain or b"", content.media
        counts: Counter[str] = Counter()
        if media.name.startswith("multipart/"):
            masked = _masked_parts(data, rules, counts)
        elif content.charset in UTF8 and content.text is not None and passes_untouched(data, media.name, rules):
            masked = data
        else:
            masked = _masked_whole(data, media.name, content.charset, rules, counts)
        pairs = rules.replacer.take_pairs()
        if mask.restore:
            masked = restore_document(masked, media.name, content.charset, known)
        return Masked(masked, dict(counts), pairs=pairs)

    def _rules(self, names: Iterable[str], mask: MaskObligation, hidden: tuple[str, ...] = ()) -> Rules:
        return Rules(self._scanner(names), self._replacer(mask), mask.fields, hidden, mask.binary == "pass")

    def _scanner(self, names: Iterable[str]) -> Scanner:
        return scanner_for(frozenset(names), *self._own)

    def _replacer(self, mask: MaskObligation) -> Replacer:
        return Replacer(mask.style, self._key)


def _streamed(media: MediaType, charsets: frozenset[str]) -> str:
    """The declared charset, if it is one of these. Raises MaskingError.

    A stream cannot be read twice: an agent that declares UTF-16 for what is UTF-8 would have it masked as garble.
    """
    if media.charset not in charsets:
        raise MaskingError("the content's charset cannot be read as a stream")
    return media.charset


def mask_failed(error: Exception) -> Denied:
    """A detector failed: nothing passes (G1). The message names the detector, never content."""
    return denied(f"content could not be inspected: {error}", (), code="mask_failed")


def _unmaskable(error: MaskingError) -> GatewayError:
    return GatewayError(502, "mask_failed", f"the reply cannot be masked: {error}")


def _masked_whole(data: bytes, media_type: str, charset: str, rules: Rules, counts: Counter[str]) -> bytes:
    masker = masker_for(media_type, rules, charset)
    masked = masker.feed(data) + masker.close()
    counts.update(masker.counts)
    return masked


def _masked_parts(data: bytes, rules: Rules, counts: Counter[str]) -> bytes:
    def head(lines: bytes) -> bytes:
        return _masked_whole(lines, "text/plain", "utf-8", Rules(rules.scanner, rules.replacer), counts)

    def body(part: bytes, content_type: str) -> bytes:
        media_type = content_type.partition(";")[0].strip().lower()
        return _masked_whole(part, media_type, "utf-8", rules, counts)

    return mask_parts(data, head, body)


def _masked_line(text: str, lexer: FormLexer, scanner: Scanner, replacer: Replacer) -> str:
    return mask_document(text.encode(), lexer, scanner, replacer)[0].decode()
