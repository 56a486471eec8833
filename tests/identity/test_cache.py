"""Verified tokens are remembered for as long as they count, and no longer."""

import pytest

from schemas.identity import Identity
from services.runtime.identity.cache import MAX_AGE, VerifiedTokens
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.idp import Clock, Idp

ALICE = Identity(subject="alice", issuer="https://idp.example.com")


async def test_verified_token_is_cached_and_is_the_same_identity(idp: Idp, verifier: TokenVerifier) -> None:
    token = idp.token()
    assert verifier.cached(token) is None
    identity = await verifier.verify(token)
    assert verifier.cached(token) is identity
    assert await verifier.verify(token) is identity


async def test_changed_token_is_not_the_cached_one(idp: Idp, verifier: TokenVerifier) -> None:
    token = idp.token()
    await verifier.verify(token)
    assert verifier.cached(token + "A") is None
    assert verifier.cached("\ud800") is None


async def test_cached_token_is_forgotten_when_it_expires(idp: Idp, verifier: TokenVerifier, clock: Clock) -> None:
    token = idp.token(exp=int(clock()) + 20)
    await verifier.verify(token)
    clock.advance(19)
    assert verifier.cached(token) is not None
    clock.advance(1)
    assert verifier.cached(token) is None


async def test_token_within_the_leeway_after_its_expiry_is_verified_each_time(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    token = idp.token(exp=int(clock()) - 1, iat=int(clock()) - 60)
    assert await verifier.verify(token)
    assert verifier.cached(token) is None
    clock.advance(29)
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    assert caught.value.code is RejectionCode.EXPIRED


async def test_cached_token_is_verified_again_after_the_maximum_age(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    token = idp.token()
    await verifier.verify(token)
    clock.advance(MAX_AGE)
    assert verifier.cached(token) is None


def test_clock_set_back_does_not_prolong() -> None:
    cache = VerifiedTokens()
    cache.put("t", ALICE, 1_000.0, 1_010.0)
    assert cache.get("t", 999.0) is None
    assert cache.get("t", 1_005.0) is None


def test_token_unused_for_longest_goes_first() -> None:
    cache = VerifiedTokens(max_entries=2)
    for token in ("a", "b"):
        cache.put(token, ALICE, 0.0, 100.0)
    assert cache.get("a", 1.0) is ALICE
    cache.put("c", ALICE, 1.0, 100.0)
    assert len(cache) == 2
    assert cache.get("b", 1.0) is None
    assert cache.get("a", 1.0) is ALICE
