"""What stands in a value's place: a label, its last four, a keyed hash, or a token that can be turned back.

A token is the same for the same value under the same key, whatever the request or protocol, so that agents can
join on it. Who stores the pairs that tokens stand for, encrypted and for how long, is the vault's affair: a
`Replacer` only hands them over (`take_pairs`). Its counterpart is `restore`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from enum import StrEnum

from services.ingress.masking.errors import MaskingConfigError, MaskingError
from services.ingress.masking.scanner import Match

# 80 bits, 16 characters of base32: among ten million values two share a token with a chance of 1 in 10^10.
TOKEN_BYTES = 10
HASH_BYTES = 8
KEY_BYTES = 32  # the least a key may have: HMAC-SHA-256's own strength (RFC 2104 section 3)
PARTIAL_SHOWN = 4
PARTIAL_LEAST = 12  # shorter values show nothing: four of eight would be half the secret

# A token as it comes back from a model or an agent. Model output may put it in any punctuation.
TOKEN = re.compile(r"(?<![A-Za-z0-9_])[A-Z][A-Z0-9_]{1,39}_[a-z2-7]{16}(?![A-Za-z0-9_])")


class Style(StrEnum):
    LABEL = "label"
    PARTIAL = "partial"
    HASH = "hash"
    TOKEN = "token"  # noqa: S105 (a style's name)


class Replacer:
    """Replaces matches in one style. `key` (at least 32 bytes) is needed for `hash` and `token`.

    Not shared between requests: it collects the pairs of one. Raises MaskingConfigError for a short key.
    """

    def __init__(self, style: Style | str = Style.LABEL, key: bytes = b"") -> None:
        self.style = Style(style)
        if self.style in (Style.HASH, Style.TOKEN) and len(key) < KEY_BYTES:
            raise MaskingConfigError(f"the style {self.style} needs a key of at least {KEY_BYTES} bytes")
        self._key = key
        self._pairs: dict[str, str] = {}
        self._replace: Callable[[Match], str] = getattr(self, f"_{self.style.value}")

    def replace(self, match: Match) -> str:
        """What stands for the value. Raises MaskingError when two values would share a token."""
        return self._replace(match)

    def take_pairs(self) -> dict[str, str]:
        """Token to value, for those given out since the last call; store them before the text goes out."""
        pairs, self._pairs = self._pairs, {}
        return pairs

    def _label(self, match: Match) -> str:
        return f"[{match.entity}]"

    def _partial(self, match: Match) -> str:
        shown = match.value[-PARTIAL_SHOWN:] if len(match.value) >= PARTIAL_LEAST else ""
        return f"****{shown if shown.isalnum() else ''}"

    def _hash(self, match: Match) -> str:
        return f"{match.entity}#{self._digest(match)[:HASH_BYTES].hex()}"

    def _token(self, match: Match) -> str:
        token = placeholder(match.entity, self._digest(match))
        if self._pairs.setdefault(token, match.value) != match.value:
            raise MaskingError("two values have the same token")
        return token

    def _digest(self, match: Match) -> bytes:
        message = f"{match.entity}\0{match.value}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).digest()


def placeholder(entity: str, digest: bytes) -> str:
    return f"{entity}_{base64.b32encode(digest[:TOKEN_BYTES]).decode().lower()}"


def tokens(text: str) -> frozenset[str]:
    """The tokens that stand in `text`: what to look up before `restore`."""
    return frozenset(TOKEN.findall(text))


def restore(text: str, lookup: Callable[[str], str | None]) -> str:
    """`text` with every token that `lookup` knows turned back; one it does not know stays as it is."""

    def value(match: re.Match[str]) -> str:
        found = lookup(match[0])
        return match[0] if found is None else found

    return TOKEN.sub(value, text)
