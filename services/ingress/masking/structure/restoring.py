"""Placeholders turned back into values, on the way to a destination that may have them.

A placeholder is found and written as a value would be: inside a JSON string the value is escaped, in a form it is
percent-encoded. What is no placeholder of ours, or is not known any more, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from services.ingress.masking.replace import TOKEN, Replacer, restore
from services.ingress.masking.scanner import Match, Scanner, Span, View
from services.ingress.masking.structure.document import Rules, masker_for

_TOKEN = re.compile(TOKEN.pattern.encode("ascii"))


class _Tokens(Scanner):
    """Finds the placeholders that are known, in place of values."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.entities = frozenset()
        self._known = known

    def spans(self, data: bytes, since: int = 0) -> list[Span]:
        return [
            Span(match.start(), -match.end(), 0, "TOKEN")
            for match in _TOKEN.finditer(data)
            if match.start() >= since and match[0].decode("ascii") in self._known
        ]

    def view(self, data: bytes, since: int) -> View:
        return View([], since)  # only whole bodies are restored: everything waits for the end


class _Values(Replacer):
    """Puts values in the place of placeholders."""

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__()
        self._known = known

    def replace(self, match: Match) -> str:
        return self._known[match.value]


def restore_document(data: bytes, media_type: str, charset: str, known: Mapping[str, str]) -> bytes:
    """A whole body with its known placeholders turned back. Raises MaskingError when it cannot be read."""
    if not known:
        return data
    masker = masker_for(media_type, Rules(_Tokens(known), _Values(known), pass_binary=True), charset)
    return masker.feed(data) + masker.close()


def restore_target(path: str, query: str, known: Mapping[str, str]) -> tuple[str, str]:
    """The same for a request's path and query, percent-encoded."""
    encoded = {token: quote(value, safe="", errors="surrogatepass") for token, value in known.items()}
    return restore(path, encoded.get), restore(query, encoded.get)
