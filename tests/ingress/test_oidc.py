"""Tokens of a real OpenID provider at the door: what policy learns of them, and what a caller is told."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.identity.test_provider import id_token
from tests.ingress.conftest import Gateway

# The provider's own libraries warn about themselves while they answer.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Provider:
    """oidc-provider-mock in a thread, until it is stopped."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        with warnings.catch_warnings():
            import authlib.deprecate  # noqa: F401 - it sets filters of its own, which ours must come after

            warnings.simplefilter("ignore", DeprecationWarning)
            import oidc_provider_mock
        alice = oidc_provider_mock.User(sub="alice", claims={"email": "alice@example.com", "teams": ["agents", "dba"]})
        server = self._stack.enter_context(oidc_provider_mock.run_server_in_thread(user_claims=[alice]))
        self.issuer = f"http://localhost:{server.server_port}"

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


async def boot(gateway: Gateway, provider: Provider) -> None:
    issuer = {"issuer": provider.issuer, "claims": {"groups": "teams"}}
    await gateway.boot(identity={"issuers": [issuer]})


async def test_the_groups_claim_reaches_policy(gateway: Gateway, provider: Provider) -> None:
    await boot(gateway, provider)
    token = await id_token(provider.issuer, "countersign")
    async with gateway.call("GET", "/vendor/v1", token=token) as reply:
        assert reply.status == 200
    (attempt,) = gateway.attempts
    identity = attempt.identity
    assert (identity.subject, identity.issuer, identity.email) == ("alice", provider.issuer, "alice@example.com")
    assert identity.groups == ("agents", "dba")
    for raw in gateway.raw:
        assert token.encode() not in raw


async def test_a_token_for_somebody_else_is_401_and_recorded_without_it(gateway: Gateway, provider: Provider) -> None:
    await boot(gateway, provider)
    token = await id_token(provider.issuer, "another-application")
    async with gateway.call("GET", "/vendor/v1", token=token) as reply:
        assert reply.status == 401
        challenge = reply.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer ")
        assert 'error="invalid_token"' in challenge
        assert reply.content_type == "application/problem+json"
        assert (await reply.json())["detail"] == "the token is not for countersign"
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["status"]) == ("denied", "401")
    assert gateway.attempts == []
    assert gateway.upstream.seen == []
    for raw in gateway.raw:
        assert token.rpartition(".")[2].encode() not in raw


async def test_with_an_own_issuer_the_local_one_counts_no_more(gateway: Gateway, provider: Provider) -> None:
    await boot(gateway, provider)
    async with gateway.call("GET", "/vendor/v1", token=gateway.token()) as reply:
        assert reply.status == 401
    assert gateway.upstream.seen == []


async def test_a_token_is_503_while_its_issuer_was_never_reached(gateway: Gateway, provider: Provider) -> None:
    token = await id_token(provider.issuer, "countersign")
    provider.stop()
    await boot(gateway, provider)
    async with gateway.call("GET", "/vendor/v1", token=token) as reply:
        assert reply.status == 503
        assert reply.headers["Retry-After"]
        assert "WWW-Authenticate" not in reply.headers  # the token may be good
        assert "issuer" in (await reply.json())["detail"]
    async with gateway.call("GET", "/-/metrics", token=None) as reply:
        assert f'countersign_issuer_problem{{issuer="{provider.issuer}"}} 1.0' in await reply.text()
    assert gateway.attempts == []
    assert gateway.upstream.seen == []


async def test_who_was_let_in_before_stays_while_the_issuer_is_away(gateway: Gateway, provider: Provider) -> None:
    await boot(gateway, provider)
    token = await id_token(provider.issuer, "countersign")
    for _ in range(2):
        async with gateway.call("GET", "/vendor/v1", token=token) as reply:
            assert reply.status == 200
        provider.stop()
