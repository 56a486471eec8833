"""One value of a row: masked whole, or what is found in it masked, so that it is still valid for its type."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace

from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.rows.types import Family, family, members, spelt
from services.ingress.masking.scanner import Match, Scanner
from services.ingress.masking.structure.document import Rules, masker_for, passes_untouched
from services.ingress.masking.structure.plain_lexer import as_secret
from services.ingress.masking.structure.telling import teller
from services.ingress.masking.text import mask_bytes

#: The name under which a column masked by rule is counted and labelled.
COLUMN = "COLUMN"

_MEDIA = {
    Family.TEXT: "text/plain",
    Family.JSON: "application/json",
    Family.JSONB: "application/json",
    Family.XML: "application/xml",
}
#: How a text begins that a reader may take for JSON or markup, with escapes in it.
_DOCUMENT = (b"{", b"[", b'"', b"<")
#: The version that precedes a binary jsonb.
_JSONB_VERSION = b"\x01"
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
#: A column's name has at most NAMEDATALEN - 1 bytes, 63 as PostgreSQL is built; what is longer tells nothing more.
_NAME_LIMIT = 128
#: Says nothing but yes or no: whether there is a password, not which.
_BOOLEAN = 16
#: Types that a value of no known type may be: int8, int4, int2, numeric.
_NUMBERS = (20, 23, 21, 1700)
#: How deep composites are looked into for numbers; texts are found at any depth.
_DEEPEST = 4
#: The length of an element inside a binary array or composite: no part of the text beside it.
_LENGTH = re.compile(rb"\0\0[\s\S][\s\S]")


@dataclass(frozen=True, slots=True)
class _Name:
    """A column's name that may tell what its values are."""

    #: The name as it stands before a value for whoever looks for one.
    context: bytes
    #: Whether it tells that all of a value is a secret.
    told: bool
    rules: Rules


class Values:
    """Masks values in one mask's style."""

    def __init__(self, scanner: Scanner | None, replacer: Replacer) -> None:
        self.counts: Counter[str] = Counter()
        self._scanner = scanner
        self._replacer = replacer
        self._rules = Rules(scanner, replacer) if scanner else None
        self._names: dict[str, _Name] = {}

    def tells(self, name: str) -> bool:
        """Whether a column's name may tell what its values are (`ssn`, `password`, `api_key`); asked before any row."""
        context = name.encode()[:_NAME_LIMIT] + b"="
        if self._scanner is None or self._rules is None or not self.places(context):
            return False
        self._names[name] = _Name(context, teller(self._scanner)(context), replace(self._rules, name=context[:-1]))
        return True

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, since the last call."""
        return self._replacer.take_pairs()

    def places(self, data: bytes) -> list[tuple[int, int]]:
        """Where in texts joined by line ends a value may begin; a text that none of these touches holds none."""
        if self._scanner is None:
            return []
        return self._scanner.places(data if data.isascii() else _valid(data))

    def hide(self, raw: bytes, field: Field) -> bytes | None:
        """What stands for the whole value; None is NULL."""
        self.counts[COLUMN] += 1
        kind = family(field.type)
        if kind in (Family.BYTEA, Family.OTHER) or (field.binary and not field.type):
            return None
        text = self._replacer.replace(Match(0, len(raw), COLUMN, raw.decode("utf-8", "replace")))
        if kind is Family.JSON:
            return json.dumps(text).encode()
        if kind is Family.JSONB:
            return (_JSONB_VERSION if field.binary else b"") + json.dumps(text).encode()
        return text.encode()

    def look(self, raw: bytes, field: Field) -> bytes | None:
        """The value without what is found in it; the same object when nothing is. Raises MaskingError."""
        if self._scanner is None or self._rules is None:
            return raw
        kind = family(field.type)
        name = self._names.get(field.name)
        if kind is Family.TEXT and (field.type or not field.binary):
            return self._beside(raw, name) if name else self.text(raw)
        if kind is Family.JSONB and field.binary:
            masked = self._document(raw[1:], Family.JSON)
            return raw if masked == raw[1:] else raw[:1] + masked
        if kind in _MEDIA and (field.type or not field.binary):
            return self._document(raw, kind)
        return self._or_null(raw, field, name)

    def _beside(self, raw: bytes, name: _Name) -> bytes:
        """A text without what is found in it beside its column's name."""
        if raw.lstrip()[:1] in _DOCUMENT[:2] or not _is_utf8(raw):
            return self.text(raw)
        shown = name.context + (as_secret(raw) if name.told else raw)
        if b"&" not in raw and not name.rules.scanner.spans(shown, len(name.context)):
            return self.text(raw) if name.told else raw
        masker = masker_for(_MEDIA[Family.TEXT], name.rules)
        masked = masker.feed(raw) + masker.close()
        self.counts.update(masker.counts)
        return masked if masker.counts else raw

    def text(self, raw: bytes) -> bytes:
        """A text without what is found in it; documents in it are read as such."""
        return self._document(raw, Family.TEXT)

    def _document(self, raw: bytes, kind: Family) -> bytes:
        assert self._rules is not None
        if (kind is Family.TEXT and raw.lstrip()[:1] not in _DOCUMENT) or not _is_utf8(raw):
            masked, counts = mask_bytes(raw, self._rules.scanner, self._replacer)
            self.counts.update(counts)
            return masked if counts else raw
        if passes_untouched(raw, _MEDIA[kind], self._rules):
            return raw
        masker = masker_for(_MEDIA[kind], self._rules)
        masked = masker.feed(raw) + masker.close()
        self.counts.update(masker.counts)
        return masked if masker.counts else raw

    def _or_null(self, raw: bytes, field: Field, name: _Name | None) -> bytes | None:
        found = self._found(raw, field, name.context if name and field.type != _BOOLEAN else b"")
        if not found:
            return raw
        self.counts.update({found: 1})
        return None

    def _found(self, raw: bytes, field: Field, context: bytes) -> str:
        """The entity of the first value in it, in whatever way it is written; "" for none."""
        assert self._scanner is not None
        for reading in _readings(raw, field):
            for span in self._scanner.spans(context + _valid(reading), len(context)):
                return span.entity
        return ""


def _readings(raw: bytes, field: Field) -> list[bytes]:
    """How a value that is no text may be read as one."""
    if field.binary:
        return _binary_readings(raw, field.type, 0)
    if family(field.type) is Family.BYTEA and raw.startswith(b"\\x"):
        try:
            return [bytes.fromhex(raw[2:].decode())]
        except ValueError:
            return [raw]
    plain = raw.replace(b"\\", b"").replace(b'"', b"")  # as the elements of an array or composite are escaped
    return [raw] if plain == raw else [raw, plain]


def _binary_readings(raw: bytes, oid: int, deep: int) -> list[bytes]:
    text = spelt(raw, oid)
    if text is not None:
        return [text.encode()]
    if family(oid) not in (Family.OTHER, Family.TEXT, Family.BYTEA):
        return [raw]
    found = [raw, _LENGTH.sub(b"\n\n\n\n", raw)]
    if not oid:  # COPY tells no types
        found += [text.encode() for each in _NUMBERS if (text := spelt(raw, each)) is not None]
    if deep < _DEEPEST:
        for inner, value in members(raw):
            found += _binary_readings(value, inner, deep + 1)
    return found


def _valid(raw: bytes) -> bytes:
    """As UTF-8, of the same length: the scanner must not see anything else."""
    return raw if _is_utf8(raw) else _BEYOND_ASCII.sub(b"\x1a", raw)


def _is_utf8(raw: bytes) -> bool:
    """False of text in another client_encoding, in which ASCII at least can be found."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
