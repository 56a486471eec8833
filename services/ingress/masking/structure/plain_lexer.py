"""Text as it stands, after a name that may tell what it is: the value of a multipart field.

In a value that is told to be a secret, what a detector takes for its end is shown as `_`, so that all of it is masked.
"""

from __future__ import annotations

import re

from services.ingress.masking.structure.view import Mark, Piece, Zone, among

_ENDS_VALUE = b" \t\r\n\v\f\"'`,;&<>\\"
_SHOWN = bytes.maketrans(_ENDS_VALUE, b"_" * len(_ENDS_VALUE))
_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")


def as_secret(raw: bytes) -> bytes:
    """As a detector is to see what is told to be a secret."""
    return raw.translate(_SHOWN)


class PlainLexer:
    """Reads UTF-8 text; `told` says that all of it is one secret."""

    in_bare = False

    def __init__(self, *, told: bool) -> None:
        self._told = told

    def take(self, raw: bytes, *, final: bool) -> Piece:
        if not final and (cut := _CUT_CHARACTER.search(raw[-3:])):
            raw = raw[: len(raw) - len(cut[0])]
        return Piece(as_secret(raw) if self._told else raw, len(raw), among([Mark(-1, Zone.TEXT)]))

    def value(self, raw: bytes, zone: Zone) -> str:
        return raw.decode("utf-8", "surrogateescape")

    def write(self, text: str, zone: Zone, *, quoted: bool) -> bytes:
        return text.encode("utf-8", "surrogatepass")
