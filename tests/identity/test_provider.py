"""A real OpenID provider: its discovery, its key set, and an ID token from its authorization code flow."""

import warnings
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings
from services.runtime.identity.verifier import TokenVerifier

# The provider's own libraries warn about themselves while they answer.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REDIRECT = "http://localhost/callback"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with warnings.catch_warnings():
        import authlib.deprecate  # noqa: F401 - it sets filters of its own, which ours must come after

        warnings.simplefilter("ignore", DeprecationWarning)
        import oidc_provider_mock
    alice = oidc_provider_mock.User(sub="alice", claims={"email": "alice@example.com", "groups": ["agents", "dba"]})
    with oidc_provider_mock.run_server_in_thread(user_claims=[alice]) as server:
        yield f"http://localhost:{server.server_port}"


async def id_token(issuer: str, client_id: str) -> str:
    """Log alice in and redeem the code (OpenID Connect Core, section 3.1)."""
    asked = {"client_id": client_id, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid email"}
    async with aiohttp.ClientSession() as session:
        async with session.post(
            f"{issuer}/oauth2/authorize", params=asked, data={"sub": "alice"}, allow_redirects=False
        ) as reply:
            (code,) = parse_qs(urlsplit(reply.headers["Location"]).query)["code"]
        redeemed = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        credentials = aiohttp.encode_basic_auth(client_id, "secret")
        async with session.post(
            f"{issuer}/oauth2/token", data=redeemed, headers={"Authorization": credentials}
        ) as reply:
            return str((await reply.json())["id_token"])


async def test_real_token_is_verified(issuer: str) -> None:
    verifier = TokenVerifier([IssuerSettings(issuer=issuer, kind="human")])
    try:
        identity = await verifier.verify(await id_token(issuer, "countersign"))
    finally:
        await verifier.close()
    assert (identity.subject, identity.email, identity.kind) == ("alice", "alice@example.com", "human")
    assert identity.groups == ("agents", "dba")
    assert identity.issuer == issuer


async def test_real_token_for_another_client_is_refused(issuer: str) -> None:
    verifier = TokenVerifier([IssuerSettings(issuer=issuer)])
    try:
        with pytest.raises(TokenRejected) as caught:
            await verifier.verify(await id_token(issuer, "another-app"))
    finally:
        await verifier.close()
    assert caught.value.code is RejectionCode.WRONG_AUDIENCE
