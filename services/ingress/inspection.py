"""Content between the protocols and the masking package: what is found, what is recorded, what is passed on.

Everything recorded is masked first with every entity there is, each value replaced by its label and keyed hash, so
that auditors can match without reading (G4). What is passed on is masked as the rule says, or not at all passed (G1).
How content of each kind is read is in `masking.structure`, and `masking.llm_stream` for what models stream.
Parts of it: `recorded_content` (bodies for the record), `head_inspection` (path, query, fields), `sql_inspection`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from multidict import CIMultiDict

from schemas.verdicts import MaskObligation
from services.ingress.classify.llm_roles import parts_by_role
from services.ingress.classify.sql.operation import Bind
from services.ingress.content import ASCII_BASED, READABLE, Content, MediaType
from services.ingress.errors import Denied, GatewayError, denied
from services.ingress.head_inspection import (
    FieldFindings,
    MaskedHead,
    masked_fields,
    masked_path,
    masked_query,
    recorded_path,
)
from services.ingress.masking.entities import ENTITIES, CustomPattern
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer, tokens
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.masking.rows.fields import CopyFormat, Field
from services.ingress.masking.rows.row import RowMasker
from services.ingress.masking.rows.telling import NoticeMasker
from services.ingress.masking.scanner import Scanner, scanner_for
from services.ingress.masking.structure.document import Rules, masker_for, passes_untouched
from services.ingress.masking.structure.restoring import restore_document, restore_target
from services.ingress.masking.structure.wrapped import UTF8
from services.ingress.masking.text import mask_text
from services.ingress.recorded_content import Recorded, Recording, masked_whole
from services.ingress.sql_inspection import recorded_statement
from services.ingress.stream_masker import ReplyMasker, Telling

#: Recorded in place of content that cannot be read.
OPAQUE = "[content that is not text]"
#: Members of a model's reply that spell its text out token by token, so that no detector sees a value in them.
_TOKEN_BY_TOKEN = ("$..logprobs", "$..logprobsResult")


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
        self._recording = Recording(self._everything, self._hashing)
        self._fields = FieldFindings(self._everything)

    def inspect(self, content: Content) -> Recorded:
        """A body as it may be recorded. Raises Denied if a detector fails."""
        return self._looked_at(content, self._recording.content)

    def inspect_reply(self, content: Content) -> Recorded:
        """The same for a reply; a model's stream as the answer it makes."""
        return self._looked_at(content, self._recording.reply)

    def inspect_answer(self, answer: dict[str, Any], *, complete: bool) -> Recorded:
        """An answer put together from a stream (`masking.llm_stream.reassemble`). Raises Denied if a detector fails."""
        try:
            return self._recording.answer(answer, complete=complete)
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

    def path(self, path: str) -> Recorded:
        """An encoded path as it may be recorded. Raises Denied when a detector fails."""
        try:
            masked, counts = recorded_path(path, self._everything, self._hashing)
        except MaskingError as error:
            raise mask_failed(error) from error
        return Recorded(masked, Counter(counts)) if counts else Recorded(masked)

    def fields(self, fields: CIMultiDict[str]) -> Counter[str]:
        """What header fields hold, by entity. Raises Denied when a detector fails."""
        try:
            return self._fields.found_in(fields.items())
        except MaskingError as error:
            raise mask_failed(error) from error

    def field(self, name: str, value: str) -> str:
        """A header field as it may be recorded. Raises Denied when a detector fails."""
        return self.line(f"{name}: {unquote(value) if '%' in value else value}").recorded

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

    def by_role(self, content: Content, found: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """What was `found` in a request to a model, by role and entity; what no role says is `other`'s.

        Raises Denied when a detector fails.
        """
        roles: dict[str, Counter[str]] = {}
        rest = Counter(found)
        for role, part in parts_by_role(content.json):
            if findings := self._found_in(part):
                shown = self.line(role).recorded
                roles[shown] = roles.get(shown, Counter()) + findings
                rest.subtract(findings)
        if rest := +rest:
            roles["other"] = roles.get("other", Counter()) + rest
        return {role: dict(counts) for role, counts in roles.items()}

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

    def outgoing(
        self,
        path: str,
        query: str,
        fields: CIMultiDict[str],
        mask: MaskObligation,
        known: Mapping[str, str] | None = None,
    ) -> MaskedHead:
        """A request's path, query and header fields as they may be passed on; untouched where nothing is found.

        `known` as for `mask`, for path and query. Raises Denied when a detector fails.
        """
        counts: Counter[str] = Counter()
        try:
            replacer = self._replacer(mask)
            if mask.request:
                scanner = self._scanner(mask.request)
                path, in_path = masked_path(path, scanner, replacer)
                query, in_query = masked_query(query, scanner, replacer)
                fields, counts = masked_fields(fields, scanner, replacer)
                counts.update(in_path)
                counts.update(in_query)
        except MaskingError as error:
            raise mask_failed(error) from error
        if mask.restore and known:
            path, query = restore_target(path, query, known)
        return MaskedHead(path, query, fields, counts, replacer.take_pairs())

    def incoming(self, fields: CIMultiDict[str], mask: MaskObligation) -> MaskedHead:
        """A reply's header fields as they may be passed on. Raises GatewayError when a detector fails."""
        if not mask.response:
            return MaskedHead(fields=fields)
        replacer = self._replacer(mask)
        try:
            fields, counts = masked_fields(fields, self._scanner(mask.response), replacer)
        except MaskingError as error:
            raise _unmaskable(error) from error
        return MaskedHead(fields=fields, counts=counts, pairs=replacer.take_pairs())

    def reply(self, media: MediaType, coding: str, mask: MaskObligation, action: str = "") -> ReplyMasker | None:
        """A masker for a reply of this type, None when nothing is to be masked. Raises GatewayError when it cannot.

        `action` tells a model's reply, in which the tokens' probabilities are left out.
        """
        if not (mask.response or mask.fields):
            return None
        hidden = _TOKEN_BY_TOKEN if action.startswith("llm.") and mask.response else ()
        try:
            rules = replace(self._rules(mask.response, mask, hidden), streams=True)
            charset = _streamed(media, READABLE)
            return Telling(masker_for(media.name, rules, charset, coding), rules.replacer, _unmaskable)
        except MaskingError as error:
            raise _unmaskable(error) from error

    def upload(self, media: MediaType, coding: str, mask: MaskObligation) -> ReplyMasker:
        """A masker for a request's body that is too large to be held whole; its errors are Denied.

        Raises Denied for `restore`, which looks at a whole body for its placeholders.
        """
        if mask.restore:
            reason = "the body is larger than limits.inspection_window, so its placeholders cannot be restored"
            raise denied(reason, (), code="mask_failed")
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

    def _masked(self, content: Content, mask: MaskObligation, known: Mapping[str, str]) -> Masked:
        rules = self._rules(mask.request, mask)
        data, media = content.plain or b"", content.media
        counts: Counter[str] = Counter()
        if content.charset in UTF8 and content.text is not None and passes_untouched(data, media.name, rules):
            masked = data
        else:
            masked = masked_whole(data, media.name, content.charset, rules, counts)
        pairs = rules.replacer.take_pairs()
        if mask.restore:
            masked = restore_document(masked, media.name, content.charset, known)
        return Masked(masked, dict(counts), pairs=pairs)

    def _found_in(self, value: Any) -> Counter[str]:
        try:
            return self._recording.value(value).findings
        except MaskingError as error:
            raise mask_failed(error) from error

    def _looked_at(self, content: Content, look: Callable[[Content], Recorded]) -> Recorded:
        if content.opaque:
            return Recorded(OPAQUE)
        if not content.raw:
            return Recorded("")
        try:
            return look(content)
        except MaskingError as error:
            raise mask_failed(error) from error

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
