"""Tokens that were verified a moment ago: an agent sends the same one with every request.

A hit costs a hash and a lookup instead of a signature. The price is that a withdrawn key or a changed
mapping counts for up to MAX_AGE seconds longer; a token's own expiry is never overstepped.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from schemas.identity import Identity

#: Seconds. Short enough to forget a withdrawn key at once, long enough that 3,000 requests a second verify once.
MAX_AGE = 60.0
#: Distinct tokens within a minute: more agents than one process serves. An entry with a directory's usual
#: claims takes about 4 KiB, so a full cache is near 16 MiB.
MAX_ENTRIES = 4_096


class _Entry(NamedTuple):
    identity: Identity
    since: float
    until: float


class VerifiedTokens:
    """A bounded LRU map from a token's SHA-256 to its identity; the token itself is not kept."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_age: float = MAX_AGE) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_age = max_age

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: str, now: float) -> Identity | None:
        """The identity of a token that is still known to be good at `now`, else None."""
        digest = _digest(token)
        entry = self._entries.get(digest)
        if entry is None:
            return None
        # `since`: a clock that was set back must not prolong anything.
        if not entry.since <= now < entry.until:
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry.identity

    def put(self, token: str, identity: Identity, now: float, expires: float) -> None:
        """Remember a token verified at `now`, up to its expiry. Drops the one unused for longest if full."""
        until = min(expires, now + self._max_age)
        if until <= now:
            return
        self._entries[_digest(token)] = _Entry(identity, now, until)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


def _digest(token: str) -> bytes:
    # A header may hold any text, and what cannot be encoded strictly is still only a key here.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
