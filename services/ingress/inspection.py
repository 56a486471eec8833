"""Content between the protocols and the masking package: what is found, what is recorded, what is passed on.

Everything recorded is masked first with every entity there is, each value replaced by its label and keyed hash, so
that auditors can match without reading (G4). What is passed on is masked as the rule says, or not at all passed (G1).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode

from schemas.verdicts import MaskObligation
from services.ingress.content import Content, MediaType
from services.ingress.errors import Denied, GatewayError, denied
from services.ingress.masking.entities import ENTITIES
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner, scanner_for
from services.ingress.masking.text import BytesStreamMasker, mask_text

#: Recorded in place of content that cannot be read.
OPAQUE = "[content that is not text]"


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


class ReplyMasker(Protocol):
    """Masks a reply's body as it streams by."""

    @property
    def counts(self) -> dict[str, int]:
        """Replaced so far, by entity."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now."""

    def close(self) -> bytes:
        """The rest."""


class Inspector:
    """Finds and masks. `key` makes hashes and tokens the same for the same value at every ingress."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._everything = scanner_for(frozenset(ENTITIES))

    def inspect(self, content: Content) -> Recorded:
        """A body as it may be recorded. Raises Denied when a detector fails."""
        if content.opaque:
            return Recorded(OPAQUE)
        return self.line(content.text or "")

    def line(self, text: str) -> Recorded:
        """Any text as it may be recorded. Raises Denied when a detector fails."""
        if not text:
            return Recorded("")
        try:
            masked, counts = mask_text(text, self._everything, Replacer("hash", self._key))
        except MaskingError as error:
            raise mask_failed(error) from error
        return Recorded(masked, Counter(counts))

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

    def mask(self, content: Content, mask: MaskObligation) -> Masked:
        """A whole body as it may be passed on. Raises Denied when it cannot be masked."""
        if not content.raw:
            return Masked(b"", {})
        if content.text is None:
            if mask.binary == "pass":
                return Masked(content.raw, {})
            raise denied("the body is not text, so it cannot be masked", (), code="mask_failed")
        try:
            masked, counts = mask_text(content.text, self._scanner(mask.request), self._replacer(mask))
        except MaskingError as error:
            raise mask_failed(error) from error
        return Masked(masked.encode(content.media.charset), counts)

    def target(self, path: str, query: str, mask: MaskObligation) -> tuple[str, str]:
        """Path and query as they may be passed on; untouched unless the request is masked."""
        if not mask.request:
            return path, query
        scanner, replacer = self._scanner(mask.request), self._replacer(mask)
        try:
            plain = unquote(path)
            masked, counts = mask_text(plain, scanner, replacer)
            path = quote(masked, safe="/:@!$&'()*+,;=-._~") if counts else path
            pairs = parse_qsl(query, keep_blank_values=True)
            changed = [(name, mask_text(value, scanner, replacer)[0]) for name, value in pairs]
        except MaskingError as error:
            raise mask_failed(error) from error
        return path, query if changed == pairs else urlencode(changed)

    def reply(self, media: MediaType, coding: str, mask: MaskObligation) -> ReplyMasker | None:
        """A masker for a reply of this type, None when nothing is to be masked. Raises GatewayError when it cannot."""
        if not mask.response:
            return None
        if coding:
            raise GatewayError(502, "mask_failed", f"the reply is encoded ({coding}), so it cannot be masked")
        return BytesStreamMasker(self._scanner(mask.response), self._replacer(mask))

    def _scanner(self, names: tuple[str, ...]) -> Scanner:
        return scanner_for(frozenset(names))

    def _replacer(self, mask: MaskObligation) -> Replacer:
        return Replacer(mask.style, self._key)


def mask_failed(error: Exception) -> Denied:
    """A detector failed: nothing passes (G1). The message names the detector, never content."""
    return denied(f"content could not be inspected: {error}", (), code="mask_failed")
