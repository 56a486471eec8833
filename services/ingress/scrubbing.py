"""Our own credential taken out of what an upstream says, should it repeat it: an echo, a redirect, an error (G3).

Pure. Each character of it becomes a `*`, so that lengths and framing hold. What a content coding hides is not seen.
Counterpart: upstream/, the only package that knows credentials, passes every reply through here.
"""

from collections.abc import Iterable
from urllib.parse import quote, quote_plus

#: Shorter secrets are left alone: they would be found by chance, and what they stand in would be destroyed.
SHORTEST = 6


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Each secret as it may be written: bare, without its scheme (`Bearer …`), and percent-encoded; longest first."""
    bare = {part for secret in secrets for part in (secret, secret.rpartition(" ")[2])}
    written = {form for part in bare for form in (part, quote(part, safe=""), quote_plus(part))}
    return tuple(sorted((form for form in written if len(form) >= SHORTEST), key=len, reverse=True))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text without these spellings."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "*" * len(secret))
    return text


def scrub_bytes(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """The same for a body that is whole."""
    for secret in secrets:
        if secret in data:
            data = data.replace(secret, b"*" * len(secret))
    return data


class Scrubber:
    """The same for a body that comes in pieces; holds back no more than what may be the beginning of a secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """`secrets` are `spellings`."""
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of it, and of what was held back, can be passed on now."""
        data = scrub_bytes(self._held + data if self._held else data, self._secrets)
        begun = max((_begun(data, secret) for secret in self._secrets), default=0)
        self._held = data[len(data) - begun :] if begun else b""
        return data[: len(data) - begun] if begun else data

    def close(self) -> bytes:
        """The rest: the body has ended within what could have become a secret."""
        held, self._held = self._held, b""
        return held


def _begun(data: bytes, secret: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `secret`."""
    at = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(data[at:]):
            return len(data) - at
        at = data.find(secret[:1], at + 1)
    return 0
