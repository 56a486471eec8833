"""A remote issuer's keys: discovered, fetched, kept, rotated, and served stale while the issuer is down.

Counterparts: `fetch.py` gets one document, `keys.py` parses the set.

    never fetched ── fetch ──► fresh ── max-age ──► stale ── MAX_STALE ──► unusable
                                 ▲                    │                       │
                                 └────── fetch ───────┴──────── fetch ────────┘

Fresh keys are served as they are. Stale ones are served too, after one attempt to fetch. An unknown key id
brings the fetch forward, at most once in MIN_INTERVAL seconds, so that invented ids cost the issuer nothing.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp
import structlog

from services.runtime.identity.algorithms import PublicKey
from services.runtime.identity.fetch import Document, FetchError, fetch_document
from services.runtime.identity.keys import PublicKeys
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings, is_loopback

#: Seconds a set is fresh if its server does not say.
DEFAULT_FRESH = 600.0
#: What the server says is bounded: below, so that `no-store` does not mean a fetch for each request; above,
#: so that a key which the issuer withdrew is forgotten within the hour.
MIN_FRESH = 60.0
MAX_FRESH = 3_600.0
#: Seconds after a fetch during which keys still count while newer ones cannot be had. An issuer that is
#: down issues no tokens, and most live an hour.
MAX_STALE = 4 * 3_600.0
#: Seconds between two attempts, whatever happens.
MIN_INTERVAL = 10.0
#: The part of the fresh time after which `refresh_early` fetches, so that no request has to wait.
EARLY = 0.75

Monotonic = Callable[[], float]
SessionGetter = Callable[[], aiohttp.ClientSession]

_log = structlog.get_logger(__name__)


class RemoteKeys:
    """The key source of one configured issuer."""

    def __init__(self, settings: IssuerSettings, session: SessionGetter, monotonic: Monotonic = time.monotonic) -> None:
        """Raises OSError if the CA bundle cannot be read."""
        self._settings = settings
        self._session = session
        self._now = monotonic
        self._tls = ssl.create_default_context(cafile=settings.ca)
        self._fetching = asyncio.Lock()
        self._keys: PublicKeys | None = None
        self._fetched_at = self._attempted_at = float("-inf")
        self._fresh_for = 0.0
        #: Why the last attempt failed, or None if it did not.
        self.problem: str | None = None

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed. Raises TokenRejected: unknown_key or issuer_unavailable."""
        keys = await self._current()
        if not keys.knows(kid):
            await self._fetch(revalidate=True)
            keys = self._usable()
        if found := keys.select(kid, algorithm):
            return found
        if not keys.knows(kid) and self.problem is not None:
            raise _unavailable()  # the key may be new: nobody can tell while the issuer is down
        raise TokenRejected(RejectionCode.UNKNOWN_KEY, "the issuer has no key that fits this token")

    async def refresh_early(self) -> None:
        """Fetch if the keys will soon be stale; without waiting if nothing is due."""
        if self._age() >= self._fresh_for * EARLY:
            await self._fetch()

    async def _current(self) -> PublicKeys:
        if self._age() >= self._fresh_for and not self._can_serve_meanwhile():
            await self._fetch()
        return self._usable()

    def _can_serve_meanwhile(self) -> bool:
        """Only one request waits for newer keys; the others go on with the stale ones."""
        return self._fetching.locked() and self._keys is not None and self._age() < MAX_STALE

    def _usable(self) -> PublicKeys:
        if self._keys is None or self._age() >= MAX_STALE:
            raise _unavailable()
        return self._keys

    def _age(self) -> float:
        return self._now() - self._fetched_at

    async def _fetch(self, *, revalidate: bool = False) -> None:
        """Try once; those who waited for the lock meanwhile find that it has just been tried."""
        async with self._fetching:
            if self._now() - self._attempted_at < MIN_INTERVAL:
                return
            before, self._attempted_at = self._attempted_at, self._now()
            try:
                document = await self._load(revalidate)
                self._keep(PublicKeys.parse(document.content), document.max_age)
            except (FetchError, ValueError) as error:
                self.problem = str(error)
                _log.warning("issuer_keys_unavailable", issuer=self._settings.issuer, problem=self.problem)
            except asyncio.CancelledError:
                # The caller who fetched went away: on a cold start the next one must not wait for that.
                if self._keys is None:
                    self._attempted_at = before
                raise

    async def _load(self, revalidate: bool) -> Document:
        address = self._settings.jwks_uri or await self._discover(revalidate)
        return await fetch_document(self._session(), address, self._tls, revalidate=revalidate)

    async def _discover(self, revalidate: bool) -> str:
        """`jwks_uri` of the discovery document (OpenID Connect Discovery 1.0, section 4)."""
        issuer = self._settings.issuer
        # Section 4.1: a trailing slash goes before the well-known path is added.
        address = issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = await fetch_document(self._session(), address, self._tls, revalidate=revalidate)
        # Section 4.3: the issuer in it MUST be exactly the one that was asked for.
        if document.content.get("issuer") != issuer:
            raise FetchError(f"{address}: the document is another issuer's")
        found = document.content.get("jwks_uri")
        if not isinstance(found, str) or not trusts(issuer, found):
            raise FetchError(f"{address}: jwks_uri is not an https address")
        return found

    def _keep(self, keys: PublicKeys, max_age: float | None) -> None:
        self._keys = keys
        self._fetched_at = self._attempted_at = self._now()
        self._fresh_for = min(max(DEFAULT_FRESH if max_age is None else max_age, MIN_FRESH), MAX_FRESH)
        self.problem = None


def trusts(issuer: str, jwks_uri: str) -> bool:
    """Whether keys from there may be believed: https, or plain http if the issuer too is plainly local."""
    try:
        if urlsplit(jwks_uri).scheme == "https":
            return True
        return all(urlsplit(url).scheme == "http" and is_loopback(url) for url in (issuer, jwks_uri))
    except ValueError:
        return False


def _unavailable() -> TokenRejected:
    return TokenRejected(RejectionCode.ISSUER_UNAVAILABLE, "the issuer's keys cannot be fetched")
