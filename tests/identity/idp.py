"""An identity provider that can rotate its keys, go down, hang, redirect and lie: a real HTTP server."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.identity.algorithms import AllowedAlgorithms

SigningKey = RSAKey | ECKey | OKPKey


class Clock:
    """A clock that moves only when told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Idp:
    """Serves discovery and JWKS under its `issuer`; the attributes change what it answers from then on."""

    def __init__(self, key: SigningKey, clock: Clock) -> None:
        self.key = key
        self.clock = clock
        self.published: list[dict[str, Any]] = [key.as_dict(private=False)]
        self.headers: dict[str, str] = {}
        self.discovery: dict[str, Any] = {}
        self.replies: dict[str, Callable[[], web.Response]] = {}
        self.hang: asyncio.Event | None = None
        self.requests: list[str] = []
        self.scheme, self.port = "http", 0
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def issuer(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def jwks_fetches(self) -> int:
        return self.requests.count("/jwks")

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls or self._tls
        self.scheme = "https" if self._tls else "http"
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def rotate(self, key: SigningKey) -> None:
        """Sign with this key from now on and publish no other."""
        self.key = key
        self.published = [key.as_dict(private=False)]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims, changed; a claim set to None is left out."""
        now = int(self.clock())
        good = {"iss": self.issuer, "sub": "alice", "aud": "countersign", "iat": now, "exp": now + 600}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, *, alg: str | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        return sign(self.key, self.claims(**claims), alg, header)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if self.hang is not None:
            await self.hang.wait()
        if request.path in self.replies:
            return self.replies[request.path]()
        if request.path == "/jwks":
            return web.json_response({"keys": self.published}, headers=self.headers)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"} | self.discovery)
        return web.Response(status=404)


def sign(key: SigningKey, claims: dict[str, Any], alg: str | None = None, header: dict[str, Any] | None = None) -> str:
    """A token by this key, whatever stands in claims and header. A header value of None is left out."""
    full: dict[str, Any] = {"alg": alg or default_algorithm(key), "kid": key.kid} | (header or {})
    full = {name: value for name, value in full.items() if value is not None}
    return jwt.encode(full, claims, key, registry=AllowedAlgorithms())


def sign_payload(key: SigningKey, payload: bytes) -> str:
    """A token by this key whose payload need not be claims."""
    header = {"alg": default_algorithm(key), "kid": key.kid}
    return jws.serialize_compact(header, payload, key, registry=AllowedAlgorithms())


def default_algorithm(key: SigningKey) -> str:
    if isinstance(key, ECKey):
        return {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.curve_name]
    return "RS256" if isinstance(key, RSAKey) else "EdDSA"
