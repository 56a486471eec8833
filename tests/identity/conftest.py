"""Keys made once, an identity provider per test, and verifiers that are closed when the test ends."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.identity.local import LocalKeys
from services.runtime.identity.settings import IssuerSettings
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.idp import Clock, Idp

MakeVerifier = Callable[..., TokenVerifier]


@pytest.fixture(scope="session")
def rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048, auto_kid=True)


@pytest.fixture(scope="session")
def other_rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048, auto_kid=True)


@pytest.fixture(scope="session")
def ec_key() -> ECKey:
    return ECKey.generate_key("P-256", auto_kid=True)


@pytest.fixture(scope="session")
def okp_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", auto_kid=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def idp(rsa_key: RSAKey, clock: Clock) -> AsyncIterator[Idp]:
    server = Idp(rsa_key, clock)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make_verifier(clock: Clock) -> AsyncIterator[MakeVerifier]:
    made: list[TokenVerifier] = []

    def make(*issuers: str | IssuerSettings, local: LocalKeys | None = None, **settings: Any) -> TokenVerifier:
        configured = [IssuerSettings(issuer=one, **settings) if isinstance(one, str) else one for one in issuers]
        made.append(TokenVerifier(configured, local, clock=clock, monotonic=clock))
        return made[-1]

    yield make
    for verifier in made:
        await verifier.close()


@pytest.fixture
def verifier(idp: Idp, make_verifier: MakeVerifier) -> TokenVerifier:
    """Trusts `idp`, with the defaults."""
    return make_verifier(idp.issuer)
