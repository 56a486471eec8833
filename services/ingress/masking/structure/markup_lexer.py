"""XML and HTML as text: character references undone (XML 1.0, section 4.1; WHATWG HTML, section 13.5).

Tags are read along with the text, for an element's or an attribute's name often tells what its value is. A `<` or `>`
of the markup ends a token; one that is written as a reference does not.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

from services.ingress.masking.structure.view import Mark, Piece, Unit, Zone, among

_TOKEN = re.compile(rb"&(?:#[xX][0-9a-fA-F]{1,6};?|#[0-9]{1,7};?|[A-Za-z][A-Za-z0-9]{1,31};)|[<>]")
_CUT = re.compile(rb"&[#A-Za-z0-9]{0,33}\Z|[\xc2-\xf4][\x80-\xbf]{0,2}\Z")
_CUT_LIMIT = 40
_SPACES = frozenset("\xa0\u2002\u2003\u2007\u2009\u202f")
_IGNORED = frozenset("\xad\u200b\u200c\u200d\u2060\ufeff")


class MarkupLexer:
    """Reads XML and HTML."""

    in_bare = False

    def take(self, raw: bytes, *, final: bool) -> Piece:
        if not final and (cut := _CUT.search(raw[-_CUT_LIMIT:])):
            raw = raw[: len(raw) - len(cut[0])]
        parts: list[bytes] = []
        units: list[Unit] = []
        marks = [Mark(-1, Zone.TEXT)]
        done = size = 0
        for token in _TOKEN.finditer(raw):
            parts.append(raw[done : token.start()])
            size += token.start() - done
            text = _character(token[0])
            if token[0] in b"<>":
                marks.append(Mark(size + (token[0] == b">"), Zone.TEXT))
            elif text != token[0]:
                units.append(Unit(size, size + len(text), *token.span()))
            parts.append(text)
            size += len(text)
            done = token.end()
        parts.append(raw[done:])
        return Piece(b"".join(parts), len(raw), among(marks), units)

    def value(self, raw: bytes, zone: Zone) -> str:
        return html.unescape(raw.decode("utf-8", "surrogateescape"))

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        return html.escape(text).encode("utf-8", "surrogatepass")


def _character(token: bytes) -> bytes:
    """What a reference stands for. Spaces of every width become one; what is not shown counts as nothing."""
    if token[:1] != b"&":
        return token
    name = token[1:].decode("ascii")
    if name[0] != "#" and name not in html5:
        return token
    text = html.unescape("&" + name.rstrip(";") + ";")
    if text in _IGNORED:
        return b""
    return b" " if text in _SPACES else text.encode("utf-8", "surrogatepass")
