"""An issuer's keys over time: discovery, caching, rotation, outages, and servers that misbehave."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from services.runtime.identity import fetch, jwks
from services.runtime.identity.fetch import MAX_DOCUMENT, freshness
from services.runtime.identity.jwks import (
    DEFAULT_FRESH,
    EARLY,
    MAX_FRESH,
    MAX_STALE,
    MIN_FRESH,
    MIN_INTERVAL,
    trusts,
)
from services.runtime.identity.keys import MAX_KEYS, PublicKeys
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.conftest import MakeVerifier
from tests.identity.idp import Clock, Idp, sign

DISCOVERY = "/.well-known/openid-configuration"


async def rejection(verifier: TokenVerifier, token: str) -> RejectionCode:
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    return caught.value.code


async def test_keys_are_fetched_once_for_many_tokens(idp: Idp, verifier: TokenVerifier) -> None:
    await asyncio.gather(*(verifier.verify(idp.token(sub=f"agent-{n}")) for n in range(20)))
    assert idp.requests == [DISCOVERY, "/jwks"]


async def test_rotated_key_is_fetched_when_a_token_names_it(
    idp: Idp, verifier: TokenVerifier, clock: Clock, other_rsa_key: RSAKey
) -> None:
    await verifier.verify(idp.token())
    clock.advance(MIN_INTERVAL)
    idp.rotate(other_rsa_key)
    assert (await verifier.verify(idp.token(sub="bob"))).subject == "bob"
    assert idp.jwks_fetches == 2


async def test_withdrawn_key_stops_counting_after_a_rotation(
    idp: Idp, verifier: TokenVerifier, clock: Clock, rsa_key: RSAKey, other_rsa_key: RSAKey
) -> None:
    await verifier.verify(idp.token())
    clock.advance(MIN_INTERVAL)
    idp.rotate(other_rsa_key)
    await verifier.verify(idp.token())
    assert await rejection(verifier, sign(rsa_key, idp.claims(sub="mallory"))) is RejectionCode.UNKNOWN_KEY


async def test_invented_key_ids_cost_the_issuer_one_fetch_per_interval(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(idp.token())
    clock.advance(MIN_INTERVAL)
    tokens = [idp.token(header={"kid": f"invented-{n}"}) for n in range(30)]
    codes = await asyncio.gather(*(rejection(verifier, token) for token in tokens))
    assert set(codes) == {RejectionCode.UNKNOWN_KEY}
    assert idp.jwks_fetches == 2
    clock.advance(MIN_INTERVAL)
    await rejection(verifier, tokens[0])
    assert idp.jwks_fetches == 3


@pytest.mark.parametrize(
    ("cache_control", "fresh"),
    [
        ("", DEFAULT_FRESH),
        ("public, max-age=900", 900.0),
        ("max-age=1", MIN_FRESH),
        ("no-store, max-age=900", MIN_FRESH),
        ("max-age=999999", MAX_FRESH),
        ("max-age=rubbish", DEFAULT_FRESH),
    ],
)
async def test_cache_control_counts_within_bounds(
    cache_control: str, fresh: float, idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    idp.headers["Cache-Control"] = cache_control
    await verifier.verify(idp.token())
    clock.advance(fresh - 1)
    await verifier.verify(idp.token(sub="bob"))
    assert idp.jwks_fetches == 1
    clock.advance(1)
    await verifier.verify(idp.token(sub="carol"))
    assert idp.jwks_fetches == 2


@pytest.mark.parametrize(
    ("cache_control", "age", "expected"),
    [
        ("max-age=600", "", 600.0),
        ("Max-Age=600, must-revalidate", "100", 500.0),
        ("max-age=600", "700", 0.0),
        ("max-age=600", "²", 600.0),
        ('max-age="60"', "", 60.0),
        ("no-cache", "", 0.0),
        ("private", "", None),
    ],
)
def test_freshness_is_read_from_the_headers(cache_control: str, age: str, expected: float | None) -> None:
    assert freshness(cache_control, age) == expected


async def test_stale_keys_serve_while_the_issuer_is_down_and_only_so_long(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(idp.token())
    await idp.stop()
    clock.advance(MAX_STALE - 1)
    assert (await verifier.verify(idp.token(sub="bob"))).subject == "bob"
    assert "ClientConnectorError" in verifier.problems[idp.issuer]
    clock.advance(1)
    assert await rejection(verifier, idp.token(sub="carol")) is RejectionCode.ISSUER_UNAVAILABLE


async def test_new_key_cannot_be_called_unknown_while_the_issuer_is_down(
    idp: Idp, verifier: TokenVerifier, clock: Clock, other_rsa_key: RSAKey
) -> None:
    await verifier.verify(idp.token())
    clock.advance(MIN_INTERVAL)
    await idp.stop()
    idp.rotate(other_rsa_key)
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    await idp.start()
    clock.advance(MIN_INTERVAL)
    assert (await verifier.verify(idp.token())).subject == "alice"


async def test_issuer_that_is_down_is_asked_again_after_the_interval(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    await idp.stop()
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    await idp.start()
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    assert idp.requests == []
    clock.advance(MIN_INTERVAL)
    assert (await verifier.verify(idp.token())).subject == "alice"
    assert verifier.problems == {}


async def test_unavailable_issuer_may_be_tried_again(idp: Idp, verifier: TokenVerifier) -> None:
    await idp.stop()
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(idp.token())
    assert caught.value.retryable


async def test_one_request_waits_for_newer_keys_and_the_others_go_on(
    idp: Idp, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(idp.token())
    clock.advance(DEFAULT_FRESH)
    idp.hang = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(verifier.verify(idp.token(sub="first")))
        await _until(lambda: len(idp.requests) == 3)
        assert (await verifier.verify(idp.token(sub="second"))).subject == "second"
        assert not waiting.done()
        idp.hang.set()
    assert waiting.result().subject == "first"


async def test_request_that_gives_up_a_cold_fetch_does_not_block_the_next(idp: Idp, verifier: TokenVerifier) -> None:
    idp.hang = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        gives_up = group.create_task(verifier.verify(idp.token()))
        await _until(lambda: idp.requests == [DISCOVERY])
        gives_up.cancel()
    idp.hang.set()
    assert (await verifier.verify(idp.token())).subject == "alice"


async def test_refresh_fetches_before_the_keys_are_stale(idp: Idp, verifier: TokenVerifier, clock: Clock) -> None:
    await verifier.refresh()
    await verifier.refresh()
    assert idp.jwks_fetches == 1
    clock.advance(DEFAULT_FRESH * EARLY)
    await verifier.refresh()
    assert idp.jwks_fetches == 2


async def test_keep_fresh_goes_on_while_an_issuer_is_down(idp: Idp, verifier: TokenVerifier, clock: Clock) -> None:
    await idp.stop()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(verifier.keep_fresh(interval=0))
        await _until(lambda: idp.issuer in verifier.problems)
        await idp.start()
        clock.advance(MIN_INTERVAL)
        await _until(lambda: not verifier.problems)
        keeping.cancel()
    assert idp.jwks_fetches == 1


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://idp.example.com"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://keys.example.com/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://["},
    ],
)
async def test_discovery_document_that_cannot_be_trusted_is_not_used(
    discovery: dict[str, Any], idp: Idp, verifier: TokenVerifier
) -> None:
    idp.discovery = discovery
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    assert idp.requests == [DISCOVERY]


@pytest.mark.parametrize(
    ("issuer", "url", "expected"),
    [
        ("https://idp.example.com", "https://keys.example.com/k", True),
        ("https://idp.example.com", "http://idp.example.com/k", False),
        ("https://idp.example.com", "http://127.0.0.1/k", False),
        ("http://127.0.0.1:9", "http://localhost:8/k", True),
        ("http://127.0.0.1:9", "http://10.0.0.1/k", False),
        ("http://[::1]:9", "http://[::1]:8/k", True),
    ],
)
def test_keys_come_over_https_or_from_this_machine(issuer: str, url: str, expected: bool) -> None:
    assert trusts(issuer, url) is expected


UNUSABLE: dict[str, Callable[[], web.Response]] = {
    "an error": lambda: web.Response(status=500),
    "no JSON": lambda: web.Response(text="<html>"),
    "a list": lambda: web.json_response([]),
    "no keys": lambda: web.json_response({"keys": []}),
    "keys that are no list": lambda: web.json_response({"keys": {"kty": "RSA"}}),
    "too many keys": lambda: web.json_response({"keys": [{}] * (MAX_KEYS + 1)}),
    "only unusable keys": lambda: web.json_response({"keys": [{"kty": "oct", "k": "AA"}, 7, {"kty": "AKP"}]}),
    "too long": lambda: web.Response(body=b" " * (MAX_DOCUMENT + 1)),
    "a redirect to another host": lambda: web.Response(status=302, headers={"Location": "http://localhost:9/k"}),
    "a redirect to another scheme": lambda: web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
    "a redirect to nowhere": lambda: web.Response(status=302),
    "redirects without end": lambda: web.Response(status=307, headers={"Location": "/jwks"}),
}


@pytest.mark.parametrize("what", UNUSABLE)
async def test_key_set_that_cannot_be_used_makes_the_issuer_unavailable(
    what: str, idp: Idp, verifier: TokenVerifier
) -> None:
    idp.replies["/jwks"] = UNUSABLE[what]
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    assert len(idp.requests) <= 5
    assert verifier.problems[idp.issuer]


async def test_redirect_within_the_same_origin_is_followed(idp: Idp, verifier: TokenVerifier) -> None:
    idp.replies[DISCOVERY] = lambda: web.Response(status=301, headers={"Location": "/moved"})
    idp.replies["/moved"] = lambda: web.json_response({"issuer": idp.issuer, "jwks_uri": f"{idp.issuer}/jwks"})
    assert (await verifier.verify(idp.token())).subject == "alice"


async def test_bad_key_set_does_not_replace_a_good_one(idp: Idp, verifier: TokenVerifier, clock: Clock) -> None:
    await verifier.verify(idp.token())
    idp.replies["/jwks"] = lambda: web.json_response({"keys": []})
    clock.advance(DEFAULT_FRESH)
    assert (await verifier.verify(idp.token(sub="bob"))).subject == "bob"


async def test_issuer_that_hangs_is_given_up(
    idp: Idp, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT", 0.05)
    idp.hang = asyncio.Event()
    assert await rejection(verifier, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    assert "TimeoutError" in verifier.problems[idp.issuer]
    idp.hang.set()


async def test_configured_jwks_uri_needs_no_discovery(idp: Idp, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier(idp.issuer, jwks_uri=f"{idp.issuer}/jwks")
    assert (await verifier.verify(idp.token())).subject == "alice"
    assert idp.requests == ["/jwks"]


async def test_unknown_issuer_is_never_asked(idp: Idp, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier("https://idp.example.com")
    assert await rejection(verifier, idp.token()) is RejectionCode.UNKNOWN_ISSUER
    assert idp.requests == []


@pytest.fixture
async def tls_idp(rsa_key: RSAKey, clock: Clock, tmp_path: Path) -> AsyncIterator[tuple[Idp, Path]]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(bundle)
    server = Idp(rsa_key, clock)
    await server.start(context)
    yield server, bundle
    await server.stop()


async def test_private_ca_is_trusted_where_configured_and_nowhere_else(
    tls_idp: tuple[Idp, Path], make_verifier: MakeVerifier
) -> None:
    idp, bundle = tls_idp
    assert (await make_verifier(idp.issuer, ca=bundle).verify(idp.token())).subject == "alice"
    stranger = make_verifier(idp.issuer)
    assert await rejection(stranger, idp.token()) is RejectionCode.ISSUER_UNAVAILABLE
    assert "Certificate" in stranger.problems[idp.issuer]


def test_missing_ca_bundle_refuses_to_start(tmp_path: Path) -> None:
    settings = IssuerSettings(issuer="https://idp.example.com", ca=tmp_path / "none.pem")
    with pytest.raises(FileNotFoundError):
        TokenVerifier([settings])


def test_issuer_configured_twice_refuses_to_start() -> None:
    settings = IssuerSettings(issuer="https://idp.example.com")
    with pytest.raises(ValueError, match="stands there twice"):
        TokenVerifier([settings, settings])


def test_keys_that_do_not_verify_signatures_are_left_out(rsa_key: RSAKey, ec_key: ECKey) -> None:
    good, curve = rsa_key.as_dict(private=False), ec_key.as_dict(private=False)
    entries: list[Any] = [
        good | {"use": "enc"},
        good | {"key_ops": ["encrypt"]},
        good | {"key_ops": 7},
        good | {"n": "!"},
        {"kty": "RSA"},
        curve | {"crv": "P-999"},
        curve | {"x": curve["y"]},
        OctKey.generate_key(256).as_dict(private=False),
        None,
        "key",
    ]
    assert len(PublicKeys.parse({"keys": [*entries, good]})) == 1


def test_rsa_key_that_is_too_short_or_too_long_is_left_out(okp_key: OKPKey) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weak = RSAKey.generate_key(1024).as_dict(private=False)
    huge = {"kty": "RSA", "e": "AQAB", "n": "_" * 1_368 + "8" * 4}
    assert len(PublicKeys.parse({"keys": [weak, huge, okp_key.as_dict(private=False)]})) == 1


def test_private_half_that_an_issuer_published_is_not_kept(rsa_key: RSAKey) -> None:
    (key,) = PublicKeys.parse({"keys": [rsa_key.as_dict(private=True)]}).select(rsa_key.kid, "RS256")
    assert not key.is_private


def test_intervals_are_in_order() -> None:
    assert MIN_INTERVAL < MIN_FRESH < DEFAULT_FRESH < MAX_FRESH < MAX_STALE
    assert jwks.EARLY * MIN_FRESH > MIN_INTERVAL


async def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Let the other side go on until the condition holds; fail after that many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)
