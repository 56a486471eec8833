"""What stands before a body, path, query and header fields: as it may be recorded, and as it may pass. Pure.

Percent-encoding is undone to look, and done again where something is put in a value's place.
Counterparts: `inspection.Inspector`, which brings the detectors; `recorded_content` for bodies.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from multidict import CIMultiDict

from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner
from services.ingress.masking.structure.flow import mask_document
from services.ingress.masking.structure.form_lexer import FormLexer
from services.ingress.masking.structure.telling import teller
from services.ingress.masking.structure.view import Zone
from services.ingress.masking.text import mask_text

#: Fields that name software and its versions: four numbers in a row are a version there, not an address.
_VERSIONS = frozenset({"user-agent", "server", "via", "x-powered-by"})
#: Fields that carry a handle: that they are named a key or token does not tell a secret; masked, no session would last.
_HANDLES = frozenset({"idempotency-key", "x-idempotency-key", "x-csrf-token", "x-csrftoken", "x-xsrf-token"})
_COOKIES = frozenset({"cookie", "set-cookie"})
#: Fields that hold an address, in which a label has to be encoded like anything else.
_ADDRESSES = frozenset({"location", "content-location", "referer"})
#: Fields that are remembered to hold nothing, and the longest of them: a megabyte at most.
KNOWN_FIELDS = 2048
KNOWN_FIELD = 256
#: Set by the gateway itself on the way to the upstream.
_OURS = frozenset({"traceparent"})


@dataclass(frozen=True)
class MaskedHead:
    """What passes in place of a path, a query and fields, and how many values were replaced by entity."""

    path: str = ""
    query: str = ""
    fields: CIMultiDict[str] = field(default_factory=CIMultiDict)
    counts: Counter[str] = field(default_factory=Counter)
    #: Placeholder to value: to be stored before anything goes out (services/ingress/vault.py).
    pairs: dict[str, str] = field(default_factory=dict)


class _Plain(FormLexer):
    """Writes what stands in a value's place as it is, for people to read."""

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        return text.encode()


def recorded_path(path: str, scanner: Scanner, replacer: Replacer) -> tuple[str, dict[str, int]]:
    """An encoded path for the record; what was not masked stays encoded. Raises MaskingError when a detector fails."""
    if "%" not in path:
        return mask_text(path, scanner, replacer)
    masked, counts = mask_document(path.encode(), _Plain(teller(scanner), plus=False), scanner, replacer)
    return masked.decode(), counts


def masked_path(path: str, scanner: Scanner, replacer: Replacer) -> tuple[str, dict[str, int]]:
    """A path to pass on; the bytes that came where nothing is found. Raises MaskingError when a detector fails."""
    masked, counts = mask_document(path.encode(), FormLexer(teller(scanner), plus=False), scanner, replacer)
    return masked.decode(), counts


def masked_query(query: str, scanner: Scanner, replacer: Replacer) -> tuple[str, dict[str, int]]:
    """The same for a query string."""
    masked, counts = mask_document(query.encode(), FormLexer(teller(scanner)), scanner, replacer)
    return masked.decode(), counts


class FieldFindings:
    """What header fields hold, by entity. Those without a value are remembered: most come again."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._clean: set[tuple[str, str]] = set()

    def found_in(self, fields: Iterable[tuple[str, str]]) -> Counter[str]:
        """One scan of all that are new tells that most hold nothing. Raises MaskingError when a detector fails."""
        new = [field for field in fields if field not in self._clean]
        texts = [(name.lower(), _shown(name, value)) for name, value in new]
        found: Counter[str] = Counter()
        if not new:
            return found
        if _suspect(texts, self._scanner):
            for name, text in texts:
                found.update(_entities(name, text, self._scanner))
        if not found:
            self._remember(new)
        return found

    def _remember(self, fields: list[tuple[str, str]]) -> None:
        if len(self._clean) > KNOWN_FIELDS:
            self._clean.clear()
        self._clean.update(field for field in fields if len(field[1]) <= KNOWN_FIELD)


def masked_fields(
    fields: CIMultiDict[str], scanner: Scanner, replacer: Replacer
) -> tuple[CIMultiDict[str], Counter[str]]:
    """Fields to pass on, the same ones where nothing is found; one whose very name is a value is left out.

    Raises MaskingError when a detector fails.
    """
    counts: Counter[str] = Counter()
    texts = [(name.lower(), _shown(name, value)) for name, value in fields.items()]
    if not _suspect(texts, scanner):
        return fields, counts
    masked: CIMultiDict[str] = CIMultiDict()
    for (name, value), (lower, text) in zip(fields.items(), texts, strict=True):
        found = _entities(lower, text, scanner)
        passed = _masked_field(name, value, scanner, replacer) if found else value
        counts.update(found)
        if passed is not None:
            masked.add(name, passed)
    return masked, counts


def _suspect(texts: list[tuple[str, str]], scanner: Scanner) -> bool:
    return bool(scanner.spans("\n".join([text for _, text in texts]).encode("utf-8", "surrogatepass")))


def _text(name: str, value: str) -> str:
    """A field as it is looked at: its name before it where that may tell, a cookie's name on a line of its own."""
    lower = name.lower()
    if lower in _COOKIES:
        return value.replace("=", "\n")
    return value if lower in _HANDLES else f"{name}={value}"


def _shown(name: str, value: str) -> str:
    """The same as its reader sees it."""
    text = _text(name, value)
    return unquote(text) if "%" in text else text


def _entities(name: str, text: str, scanner: Scanner) -> list[str]:
    found = [match.entity for match in scanner.scan(text)] if name not in _OURS else []
    return [] if name in _VERSIONS and set(found) == {"IP_ADDRESS"} else found


def _masked_field(name: str, value: str, scanner: Scanner, replacer: Replacer) -> str | None:
    """None when its very name is a value."""
    text, lower = _text(name, value), name.lower()
    if "%" in value or lower in _ADDRESSES:
        raw = text.encode("utf-8", "surrogateescape")
        data, _ = mask_document(raw, FormLexer(teller(scanner), plus=False), scanner, replacer)
        masked = data.decode("utf-8", "surrogateescape")
    else:
        masked, _ = mask_text(text, scanner, replacer)
    if lower in _COOKIES:
        return masked.replace("\n", "=")
    lead = text.removesuffix(value)
    return masked.removeprefix(lead) if masked.startswith(lead) else None
