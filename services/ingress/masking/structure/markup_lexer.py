"""XML and HTML as text: character references undone (XML 1.0, section 4.1; WHATWG HTML, section 13.5).

Tags are read along with the text, for an element's or an attribute's name often tells what its value is. A `<` or `>`
of the markup ends a token; one that is written as a reference does not. In an element or attribute whose name tells a
secret, what a detector takes for its end is shown as `_`, so that all of the secret is masked:

    <password type="x">a&lt;b <![CDATA["c"]]></password>   reads as   <password type="x";password>a_b__c_</password>
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import lru_cache
from html.entities import html5

from services.ingress.masking.structure.limits import OPENING_LIMIT, TOLD_KEYS_LIMIT
from services.ingress.masking.structure.plain_lexer import as_secret
from services.ingress.masking.structure.view import Mark, Piece, Unit, Zone, among

# Between two tokens is text. What is not shown may also stand as it is: soft hyphen, zero width, byte order mark.
_REFERENCE = rb"&(?:#[xX][0-9a-fA-F]{1,6};?|#[0-9]{1,7};?|[A-Za-z][A-Za-z0-9]{1,31};)"
UNSEEN = re.compile(rb"\xc2\xad|\xe2\x80[\x8b-\x8d]|\xe2\x81\xa0|\xef\xbb\xbf")
_TOKEN = re.compile(rb"%s|<!\[CDATA\[|\]\]>|[<>]|%s" % (_REFERENCE, UNSEEN.pattern))
_CUT = re.compile(
    rb"&[#A-Za-z0-9]{0,33}\Z|<(?:!(?:\[[CDAT]{0,5})?)?\Z|\]{1,2}\Z"
    rb"|(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
_CUT_LIMIT = 40
_SPACES = frozenset("\xa0\u2002\u2003\u2007\u2009\u202f")
_IGNORED = frozenset("\xad\u200b\u200c\u200d\u2060\ufeff")
_ELEMENT = re.compile(rb"<([^\s/<>!?\"'=]{1,128})")
# The attribute that a tag breaks off in.
_ATTRIBUTE = re.compile(rb"([^\s=\"'<>/]{1,128})\s*=\s*(?:\"[^\"]*|'[^']*)\Z")

#: Whether what follows a name and its sign, `>` or `=`, is a secret.
Tells = Callable[[bytes], bool]


class MarkupLexer:
    """Reads XML and HTML. `tells_element` is asked `password>`, `tells_attribute` is asked `password="`."""

    in_bare = False

    def __init__(self, tells_element: Tells, tells_attribute: Tells) -> None:
        self._asked = {b">": tells_element, b'="': tells_attribute}
        self._answers: dict[bytes, bool] = {}
        self._tag: bytes | None = None  # of the tag that is open: its beginning and its end
        self._cdata = False  # whether a `<` is a character like any other
        self._told = False  # whether the element tells that its text is a secret

    def take(self, raw: bytes, *, final: bool) -> Piece:
        if not final and (cut := _CUT.search(raw[-_CUT_LIMIT:])):
            raw = raw[: len(raw) - len(cut[0])]
        parts: list[bytes] = []
        units: list[Unit] = []
        marks = [Mark(-1, Zone.TEXT)]
        done = size = 0
        for token in _TOKEN.finditer(raw):
            start, end = token.span()
            if start > done:
                parts.append(self._text(raw[done:start]))
                size += start - done
            found = token[0]
            is_sign = found in b"<>" and not self._cdata
            text = self._markup(found) if is_sign else self._character(found)
            if is_sign:
                marks.append(Mark(size + len(text) if found == b">" else size, Zone.TEXT))
            if text != found:
                units.append(Unit(size, size + len(text), start, end))
            parts.append(text)
            size += len(text)
            done = end
        parts.append(self._text(raw[done:]))
        return Piece(b"".join(parts), len(raw), among(marks), units)

    def value(self, raw: bytes, zone: Zone) -> str:
        return html.unescape(raw.decode("utf-8", "surrogateescape"))

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        return html.escape(text).encode("utf-8", "surrogatepass")

    def _text(self, text: bytes) -> bytes:
        if self._tag is not None:
            self._tag += text
            if len(self._tag) > 4 * OPENING_LIMIT:
                self._tag = self._tag[:OPENING_LIMIT] + self._tag[-OPENING_LIMIT:]
            return text
        return as_secret(text) if self._told else text

    def _markup(self, sign: bytes) -> bytes:
        """A tag opens or closes; one that tells a secret says so right before its text, whatever its attributes."""
        if sign == b"<":
            self._tag, self._told = b"<", False
            return sign
        tag, self._tag = self._tag or b"", None
        name = _ELEMENT.match(tag)
        if name is None or tag.endswith(b"/"):
            return sign
        self._told = self._tells(name[1], b">")
        return b";" + name[1] + sign if self._told and tag != name[0] else sign

    def _character(self, token: bytes) -> bytes:
        """What a reference stands for, in a secret so that it does not end it."""
        if token[:3] in (b"<![", b"]]>"):  # in HTML these begin a comment, so that references are undone there as well
            self._cdata = token[:1] == b"<"
            return b""
        text = token if token in b"<>" else _character(token)
        if len(text) != 1 or not text.isascii():
            return text
        if self._tag is None:
            return as_secret(text) if self._told else text
        attribute = _ATTRIBUTE.search(self._tag)
        return as_secret(text) if attribute and self._tells(attribute[1], b'="') else text

    def _tells(self, name: bytes, sign: bytes) -> bool:
        question = name + sign
        if question not in self._answers:
            if len(self._answers) >= TOLD_KEYS_LIMIT:
                self._answers.clear()
            self._answers[question] = self._asked[sign](question)
        return self._answers[question]


@lru_cache(maxsize=4096)
def _character(token: bytes) -> bytes:
    """What a reference stands for. Spaces of every width become one; what is not shown counts as nothing."""
    if token[:1] != b"&":
        return b""
    name = token[1:].decode("ascii")
    if name[0] != "#" and name not in html5:
        return token
    text = html.unescape("&" + name.rstrip(";") + ";")
    if text in _IGNORED:
        return b""
    return b" " if text in _SPACES else text.encode("utf-8", "surrogatepass")
