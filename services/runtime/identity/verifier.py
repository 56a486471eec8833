"""From a bearer token to an identity: what ingress, approver and command line ask of every caller.

The order is that of RFC 8725, sections 3.1 to 3.11: parse, issuer, algorithm, key, signature, and only then
the claims. Whatever is in doubt rejects.

    open_envelope ─► issuer ─► key source ─► verify_signature ─► check_claims ─► map_identity ─► cache
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from schemas.identity import Identity
from services.runtime.identity.algorithms import AllowedAlgorithms
from services.runtime.identity.cache import VerifiedTokens
from services.runtime.identity.claims import check_claims, expiry
from services.runtime.identity.envelope import check_algorithm, open_envelope, verify_signature
from services.runtime.identity.fetch import SessionFactory, new_session
from services.runtime.identity.jwks import Monotonic, RemoteKeys
from services.runtime.identity.keys import KeySource
from services.runtime.identity.local import LOCAL_SETTINGS, LocalKeys
from services.runtime.identity.mapping import map_identity
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings

#: Seconds between two looks at whether a key set will soon be stale; well under the shortest fresh time.
KEEP_FRESH_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class _Issuer:
    settings: IssuerSettings
    keys: KeySource
    algorithms: AllowedAlgorithms


class TokenVerifier:
    """Verifies tokens of the configured issuers. One per process; use it within one event loop."""

    def __init__(
        self,
        issuers: Iterable[IssuerSettings],
        local: LocalKeys | None = None,
        *,
        http: SessionFactory = new_session,
        clock: Callable[[], float] = time.time,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        """`http` makes the client session when keys are first fetched. Raises ValueError if an issuer stands
        there twice, OSError if a CA bundle cannot be read."""
        self._http = http
        self._clock = clock
        self._open: aiohttp.ClientSession | None = None
        self._verified = VerifiedTokens()
        self._remotes: dict[str, RemoteKeys] = {}
        self._issuers: dict[str, _Issuer] = {}
        for settings in issuers:
            self._remotes[settings.issuer] = RemoteKeys(settings, self._session, monotonic)
            self._trust(settings, self._remotes[settings.issuer])
        if local is not None:
            self._trust(LOCAL_SETTINGS, local)

    def cached(self, token: str) -> Identity | None:
        """The identity of a token verified a moment ago, else None: then `verify` tells. Costs microseconds."""
        return self._verified.get(token, self._clock())

    async def verify(self, token: str) -> Identity:
        """Whose token this is. Raises TokenRejected."""
        if (known := self.cached(token)) is not None:
            return known
        envelope = open_envelope(token)
        issuer = self._issuers.get(envelope.issuer)
        if issuer is None:
            raise TokenRejected(RejectionCode.UNKNOWN_ISSUER, "the token's issuer is not one that is trusted")
        check_algorithm(envelope, issuer.algorithms)
        keys = await issuer.keys.candidates(envelope.kid, envelope.algorithm)
        verify_signature(envelope, keys, issuer.algorithms)
        now = self._clock()
        check_claims(envelope.claims, issuer.settings, now)
        identity = map_identity(envelope.claims, issuer.settings)
        self._verified.put(token, identity, now, expiry(envelope.claims))
        return identity

    def time_left(self, token: str) -> float:
        """Seconds for which a token that was verified still counts, its issuer's leeway included."""
        envelope = open_envelope(token)
        return expiry(envelope.claims) + self._issuers[envelope.issuer].settings.leeway - self._clock()

    @property
    def problems(self) -> dict[str, str]:
        """Issuers whose keys could not be fetched at the last attempt, with one line each; for readiness."""
        return {name: keys.problem for name, keys in self._remotes.items() if keys.problem is not None}

    async def refresh(self) -> None:
        """Fetch the keys of every issuer whose set is missing or will soon be stale; failures are `problems`."""
        await asyncio.gather(*(keys.refresh_early() for keys in self._remotes.values()))

    async def keep_fresh(self, interval: float = KEEP_FRESH_INTERVAL) -> None:
        """Run `refresh` for ever, so that no request waits for an issuer. A service starts it as a task."""
        while True:
            await self.refresh()
            await asyncio.sleep(interval)

    async def close(self) -> None:
        """Close the client session, if one was opened."""
        if self._open is not None:
            await self._open.close()
            self._open = None

    def _trust(self, settings: IssuerSettings, keys: KeySource) -> None:
        if settings.issuer in self._issuers:
            raise ValueError(f"identity.issuers: {settings.issuer} stands there twice")
        self._issuers[settings.issuer] = _Issuer(settings, keys, AllowedAlgorithms(settings.algorithms))

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None or self._open.closed:
            self._open = self._http()
        return self._open
