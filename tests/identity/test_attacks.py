"""Forged, confused and mangled tokens: each is rejected with its code, and nothing but TokenRejected comes out."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey, generate_key

from services.runtime.identity.algorithms import MAX_TOKEN
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.conftest import MakeVerifier
from tests.identity.idp import Clock, Idp, sign, sign_payload

Forge = Callable[[Idp], str]


def b64(data: bytes | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(idp: Idp, alg: object, signature: str = "") -> str:
    return f"{b64({'alg': alg, 'kid': idp.key.kid})}.{b64(idp.claims())}.{signature}"


def hmac_with(idp: Idp, secret: bytes, alg: str = "HS256") -> str:
    """RFC 8725, section 2.1: the public key taken for a shared secret."""
    signed = f"{b64({'alg': alg, 'kid': idp.key.kid})}.{b64(idp.claims())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), digest).digest())}"


def reheader(token: str, **changes: Any) -> str:
    """Another header before the same payload and signature."""
    head, payload, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return f"{b64(header | changes)}.{payload}.{signature}"


def repayload(token: str, **changes: Any) -> str:
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{head}.{b64(claims | changes)}.{signature}"


def now(idp: Idp) -> int:
    return int(idp.clock())


ATTACKS: dict[str, tuple[Forge, str]] = {
    **{
        f"alg {alg!r}": (lambda idp, alg=alg: unsigned(idp, alg), "algorithm")
        for alg in ("none", "None", "NONE", "nOnE", "none ", "", None, 5, True, [], {}, ["RS256"])
    },
    "alg none with the old signature": (lambda idp: reheader(idp.token(), alg="none"), "algorithm"),
    "no alg": (lambda idp: f"{b64({'kid': 'k'})}.{b64(idp.claims())}.c2ln", "malformed"),
    "alg in lower case": (lambda idp: reheader(idp.token(), alg="rs256"), "algorithm"),
    **{
        f"{alg} with the public PEM": (lambda idp, alg=alg: hmac_with(idp, idp.key.as_pem(), alg), "algorithm")
        for alg in ("HS256", "HS384", "HS512")
    },
    "HS256 with the public DER": (lambda idp: hmac_with(idp, idp.key.as_der()), "algorithm"),
    "HS256 with the public JWK": (
        lambda idp: hmac_with(idp, json.dumps(idp.key.as_dict(private=False)).encode()),
        "algorithm",
    ),
    "HS256 with an empty secret": (lambda idp: hmac_with(idp, b""), "algorithm"),
    "ES256K": (lambda idp: reheader(idp.token(), alg="ES256K"), "algorithm"),
    "another algorithm of the same key": (lambda idp: reheader(idp.token(), alg="PS256"), "bad_signature"),
    "another key type": (lambda idp: reheader(idp.token(), alg="ES256"), "unknown_key"),
    "Ed25519 over an RSA key": (lambda idp: reheader(idp.token(), alg="Ed25519"), "unknown_key"),
    "a changed payload": (lambda idp: repayload(idp.token(), sub="root"), "bad_signature"),
    "no signature": (lambda idp: idp.token().rsplit(".", 1)[0] + ".", "bad_signature"),
    "a cut signature": (lambda idp: idp.token()[:-8], "bad_signature"),
    "a signature with padding": (lambda idp: idp.token() + "==", "bad_signature"),
    "crit with an unknown name": (
        lambda idp: reheader(idp.token(), crit=["exp"], exp=now(idp)),
        "malformed",
    ),
    "crit with an unencoded payload": (lambda idp: reheader(idp.token(), crit=["b64"], b64=False), "malformed"),
    "crit that is empty": (lambda idp: reheader(idp.token(), crit=[]), "malformed"),
    "crit that is no list": (lambda idp: reheader(idp.token(), crit=7), "malformed"),
    "unencoded payload without crit": (lambda idp: reheader(idp.token(), b64=False), "malformed"),
    "a logout token": (lambda idp: idp.token(header={"typ": "logout+jwt"}), "malformed"),
    "a typ that is no string": (lambda idp: reheader(idp.token(), typ=["JWT"]), "malformed"),
    **{
        f"kid {kid[:24]!r}": (lambda idp, kid=kid: idp.token(header={"kid": kid}), "unknown_key")
        for kid in ("../../../../dev/null", "/etc/passwd", "' OR 1=1 --", "http://127.0.0.1/k", "", "k\0", "😀")
    },
    "a kid that is a number": (lambda idp: reheader(idp.token(), kid=0), "malformed"),
    "a kid that is an object": (lambda idp: reheader(idp.token(), kid={}), "malformed"),
    "another audience": (lambda idp: idp.token(aud="payroll"), "wrong_audience"),
    "other audiences": (lambda idp: idp.token(aud=["payroll", "Countersign", 7]), "wrong_audience"),
    "an audience inside an object": (lambda idp: idp.token(aud={"countersign": 1}), "wrong_audience"),
    "no audience": (lambda idp: idp.token(aud=None), "wrong_audience"),
    "another issuer": (lambda idp: idp.token(iss="https://idp.example.com"), "unknown_issuer"),
    "the issuer with a slash": (lambda idp: idp.token(iss=idp.issuer + "/"), "unknown_issuer"),
    "the issuer in capitals": (lambda idp: idp.token(iss=idp.issuer.upper()), "unknown_issuer"),
    "issuers in a list": (lambda idp: idp.token(iss=[idp.issuer]), "unknown_issuer"),
    "no issuer": (lambda idp: idp.token(iss=None), "unknown_issuer"),
    "the local issuer, which is not trusted": (lambda idp: idp.token(iss="countersign-local"), "unknown_issuer"),
    "expired": (lambda idp: idp.token(exp=now(idp) - 31, iat=now(idp) - 600), "expired"),
    "no expiry": (lambda idp: idp.token(exp=None), "claims"),
    "an expiry in words": (lambda idp: idp.token(exp="tomorrow"), "claims"),
    "an expiry of true": (lambda idp: idp.token(exp=True), "claims"),
    "not yet valid": (lambda idp: idp.token(nbf=now(idp) + 31), "not_yet_valid"),
    "issued in the future": (lambda idp: idp.token(iat=now(idp) + 31), "not_yet_valid"),
    "issued after its expiry": (lambda idp: idp.token(exp=now(idp) - 10, iat=now(idp) + 10), "claims"),
    "no subject": (lambda idp: idp.token(sub=None), "claims"),
    "an empty subject": (lambda idp: idp.token(sub=""), "claims"),
    "a subject of two lines": (lambda idp: idp.token(sub="alice\nadmin: yes"), "claims"),
    "a subject written backwards": (lambda idp: idp.token(sub="alice\u202egpj"), "claims"),
    "a subject that is a list": (lambda idp: idp.token(sub=["alice"]), "claims"),
    "a subject too long": (lambda idp: idp.token(sub="a" * 256), "claims"),
    "groups that are numbers": (lambda idp: idp.token(groups=[1, 2]), "claims"),
    "groups that are an object": (lambda idp: idp.token(groups={"admins": True}), "claims"),
    "an expiry of NaN": (
        lambda idp: sign_payload(idp.key, json.dumps(idp.claims(exp=float("nan"))).encode()),
        "malformed",
    ),
    "an expiry beyond every number": (
        lambda idp: sign_payload(idp.key, json.dumps(idp.claims()).replace("}", ',"exp":1e999}').encode()),
        "malformed",
    ),
    "a payload that is a list": (lambda idp: sign_payload(idp.key, b"[]"), "malformed"),
    "a payload that is no JSON": (lambda idp: sign_payload(idp.key, b"alice"), "malformed"),
    "a payload nested too deep": (lambda idp: sign_payload(idp.key, b"[" * 4_000), "malformed"),
    "a payload in UTF-16": (
        lambda idp: sign_payload(idp.key, json.dumps(idp.claims()).encode("utf-16")),
        "malformed",
    ),
    "half a surrogate": (
        lambda idp: sign_payload(idp.key, json.dumps(idp.claims(sub="\ud800")).encode()),
        "malformed",
    ),
    "a header nested too deep": (lambda idp: f"{b64(b'[' * 4_000)}.{b64(idp.claims())}.c2ln", "malformed"),
    "a header that is a list": (lambda idp: b64(b'["alg"]') + f".{b64(idp.claims())}.c2ln", "malformed"),
    "a header that is a string": (lambda idp: b64(b'"alg b64"') + f".{b64(idp.claims())}.c2ln", "malformed"),
    "oversize": (lambda idp: idp.token(padding="x" * MAX_TOKEN), "malformed"),
    "an oversize header": (lambda idp: reheader(idp.token(), pad="x" * 9_000), "malformed"),
    "an encrypted token": (lambda _: "a.b.c.d.e", "malformed"),
    "JSON serialization": (lambda idp: json.dumps({"payload": b64(idp.claims()), "signatures": []}), "malformed"),
    "two tokens": (lambda idp: f"{idp.token()},{idp.token()}", "malformed"),
    "a line break inside": (lambda idp: idp.token().replace(".", ".\n", 1), "malformed"),
    "nothing": (lambda _: "", "malformed"),
    "half a surrogate for a token": (lambda _: "\ud800.\ud800.\ud800", "malformed"),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack_is_rejected_with_its_code(name: str, idp: Idp, verifier: TokenVerifier) -> None:
    forge, code = ATTACKS[name]
    token = forge(idp)
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    assert caught.value.code == code
    assert not caught.value.retryable
    assert verifier.cached(token) is None


@pytest.mark.parametrize("name", ATTACKS)
async def test_rejection_does_not_quote_the_token(name: str, idp: Idp, verifier: TokenVerifier) -> None:
    token = ATTACKS[name][0](idp)
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    shown = caught.value.detail + str(caught.value) + repr(caught.value)
    assert not any(len(part) > 8 and part in shown for part in [token, *token.split(".")])


@pytest.mark.parametrize("place", ["jku", "jwk", "x5u", "x5c"])
async def test_key_brought_along_in_the_header_is_not_used(
    place: str, idp: Idp, verifier: TokenVerifier, other_rsa_key: RSAKey
) -> None:
    idp.replies["/evil"] = lambda: web.json_response({"keys": [other_rsa_key.as_dict(private=False)]})
    brought: dict[str, Any] = {
        "jku": f"{idp.issuer}/evil",
        "x5u": f"{idp.issuer}/evil",
        "jwk": other_rsa_key.as_dict(private=False),
        "x5c": ["MIIB"],
    }
    forged = sign(other_rsa_key, idp.claims(), header={place: brought[place], "kid": idp.key.kid})
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(forged)
    assert caught.value.code is RejectionCode.BAD_SIGNATURE
    assert "/evil" not in idp.requests


@pytest.mark.parametrize("place", ["jku", "x5u"])
async def test_good_token_with_a_key_address_counts_and_the_address_is_not_visited(
    place: str, idp: Idp, verifier: TokenVerifier
) -> None:
    await verifier.verify(idp.token(header={place: f"{idp.issuer}/evil"}))
    assert "/evil" not in idp.requests


async def test_key_of_another_issuer_does_not_verify(
    idp: Idp, clock: Clock, other_rsa_key: RSAKey, make_verifier: MakeVerifier
) -> None:
    """Cross-issuer confusion: the second issuer signs a token in the first one's name, with its key id."""
    second = Idp(other_rsa_key, clock)
    await second.start()
    try:
        verifier = make_verifier(idp.issuer, second.issuer)
        await verifier.verify(second.token())
        forged = sign(other_rsa_key, idp.claims(), header={"kid": idp.key.kid})
        with pytest.raises(TokenRejected) as caught:
            await verifier.verify(forged)
        assert caught.value.code is RejectionCode.BAD_SIGNATURE
    finally:
        await second.stop()


async def test_symmetric_key_in_a_key_set_is_no_key(idp: Idp, verifier: TokenVerifier) -> None:
    idp.published.insert(0, {"kty": "oct", "k": b64(b"secret" * 8), "kid": idp.key.kid, "alg": "RS256"})
    assert (await verifier.verify(idp.token())).subject == "alice"
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(hmac_with(idp, b"secret" * 8))
    assert caught.value.code is RejectionCode.ALGORITHM


async def test_two_keys_with_one_id_are_told_apart_by_type(
    idp: Idp, verifier: TokenVerifier, ec_key: ECKey, other_rsa_key: RSAKey
) -> None:
    for key in (ec_key, other_rsa_key):
        idp.published.insert(0, key.as_dict(private=False) | {"kid": idp.key.kid})
    assert (await verifier.verify(idp.token())).subject == "alice"
    assert (await verifier.verify(sign(ec_key, idp.claims(), header={"kid": idp.key.kid}))).subject == "alice"


async def test_key_declared_for_one_algorithm_verifies_no_other(idp: Idp, verifier: TokenVerifier) -> None:
    idp.published[0] |= {"alg": "RS512"}
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(idp.token(alg="RS256"))
    assert caught.value.code is RejectionCode.UNKNOWN_KEY
    assert await verifier.verify(idp.token(alg="RS512"))


async def test_narrowed_algorithms_reject_the_others(idp: Idp, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier(idp.issuer, algorithms=("PS256",))
    assert await verifier.verify(idp.token(alg="PS256"))
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(idp.token(alg="RS256"))
    assert caught.value.code is RejectionCode.ALGORITHM


async def test_token_without_key_id_needs_an_unambiguous_key(
    idp: Idp, verifier: TokenVerifier, make_verifier: MakeVerifier, other_rsa_key: RSAKey
) -> None:
    token = idp.token(header={"kid": None})
    assert await verifier.verify(token)
    idp.published.append(other_rsa_key.as_dict(private=False))
    with pytest.raises(TokenRejected) as caught:
        await make_verifier(idp.issuer).verify(token)
    assert caught.value.code is RejectionCode.UNKNOWN_KEY


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_rsa_algorithms_verify(alg: str, idp: Idp, verifier: TokenVerifier) -> None:
    assert (await verifier.verify(idp.token(alg=alg))).subject == "alice"


@pytest.mark.parametrize(
    ("curve", "alg"),
    [("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512"), ("Ed25519", "EdDSA"), ("Ed25519", "Ed25519")],
)
async def test_curve_algorithms_verify(curve: str, alg: str, idp: Idp, verifier: TokenVerifier) -> None:
    idp.rotate(generate_key("OKP" if curve == "Ed25519" else "EC", curve, auto_kid=True))  # type: ignore[call-overload]
    assert (await verifier.verify(idp.token(alg=alg))).subject == "alice"


SEGMENT = st.one_of(
    st.binary(max_size=200).map(b64),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "iss", "aud", "exp", "nbf", "iat", "sub"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: b64(json.dumps(value).encode())),
    st.text(max_size=40),
)
MANGLED = st.lists(SEGMENT, min_size=1, max_size=6).map(".".join)
#: One verifier serves all examples, and drawing them may take its time.
UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=300, suppress_health_check=UNHURRIED)
@given(token=st.one_of(st.text(max_size=300), MANGLED))
async def test_garbage_raises_nothing_but_token_rejected(token: str, verifier: TokenVerifier) -> None:
    with pytest.raises(TokenRejected):
        await verifier.verify(token)


@settings(max_examples=150, suppress_health_check=UNHURRIED)
@given(
    claims=st.dictionaries(
        st.sampled_from(["sub", "groups", "email", "email_verified", "_claim_names", "nbf", "iat", "exp", "aud"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
            max_leaves=4,
        ),
        max_size=4,
    )
)
async def test_signed_nonsense_is_an_identity_or_a_rejection(
    claims: dict[str, Any], idp: Idp, verifier: TokenVerifier
) -> None:
    try:
        identity = await verifier.verify(idp.token(**claims))
    except TokenRejected:
        return
    assert identity.subject.isprintable()
    assert identity.issuer == idp.issuer
    identity.model_dump_json()
