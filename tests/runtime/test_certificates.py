"""What people approved is signed, and nothing else passes for it."""

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from schemas.certificates import Certificate
from services.runtime.certificates import TYPE, CertificateRejected, sign, verify

KEY, OTHER = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CERTIFICATE = Certificate(
    kind="once",
    id="a-1",
    issuer="i",
    subject="agent-7",
    connector="vendor",
    rules=("refunds",),
    policy_version="v1",
    operation_digest="0" * 64,
    approved_by=("ann@example.com",),
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
)


def crafted(header: dict[str, str], payload: str) -> str:
    parts = [urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (json.dumps(header), payload)]
    return ".".join([*parts, ""])


def test_what_is_signed_is_read_back_by_any_trusted_key() -> None:
    assert verify(sign(CERTIFICATE, KEY), [OTHER, KEY]) == CERTIFICATE


def test_the_private_key_stays_out_of_it() -> None:
    public = OKPKey.import_key(KEY.as_pem(private=False))
    assert verify(sign(CERTIFICATE, KEY), [public]) == CERTIFICATE
    with pytest.raises(Exception, match="sign"):
        sign(CERTIFICATE, public)


def test_a_stranger_s_signature_is_refused() -> None:
    with pytest.raises(CertificateRejected, match="no trusted key"):
        verify(sign(CERTIFICATE, OTHER), [KEY])
    with pytest.raises(CertificateRejected, match="no trusted key"):
        verify(sign(CERTIFICATE, KEY), [])


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_changed_character_is_refused(at: int) -> None:
    text = sign(CERTIFICATE, KEY)
    at = min(at, len(text) - 2)  # the last character of Base64 may hold bits that mean nothing
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    with pytest.raises(CertificateRejected):
        verify(changed, [KEY])


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    text = crafted({"alg": algorithm, "typ": TYPE}, CERTIFICATE.model_dump_json())
    if algorithm == "HS256":  # RFC 8725, section 2.1: the public key as an HMAC secret
        mac = hmac.digest(KEY.as_pem(private=False), text.rstrip(".").encode(), "sha256")
        text += urlsafe_b64encode(mac).rstrip(b"=").decode()
    with pytest.raises(CertificateRejected):
        verify(text, [KEY])


@pytest.mark.parametrize("kind", ["JWT", "", "JWS"])
def test_what_the_same_key_signed_for_another_purpose_is_refused(kind: str) -> None:
    text = jws.serialize_compact({"alg": "Ed25519", "typ": kind}, CERTIFICATE.model_dump_json(), KEY, ["Ed25519"])
    with pytest.raises(CertificateRejected, match="not an approval certificate"):
        verify(text, [KEY])


def test_claims_that_are_none_are_refused() -> None:
    text = jws.serialize_compact({"alg": "Ed25519", "typ": TYPE}, '{"kind": "forever"}', KEY, ["Ed25519"])
    with pytest.raises(CertificateRejected, match="malformed"):
        verify(text, [KEY])


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "....", "\x00", "é.é.é"])
def test_what_is_no_jws_is_refused(text: str) -> None:
    with pytest.raises(CertificateRejected):
        verify(text, [KEY])
