"""Sign and verify what people approved: a compact JWS with Ed25519 (RFC 7515, RFC 9864).

The approver signs (`sign`), ingress verifies (`verify`) and then compares every claim with the operation at hand.
"""

from collections.abc import Iterable

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import ValidationError

from schemas.certificates import Certificate

#: `typ` of our JWS: nothing else that the same key may sign passes for a certificate (RFC 8725, section 3.11).
TYPE = "countersign-approval+jws"
_ALGORITHMS = ["Ed25519"]


class CertificateRejected(Exception):
    """The certificate is not one of ours, or not intact."""


def sign(certificate: Certificate, key: OKPKey) -> str:
    """The certificate as a compact JWS."""
    header = {"alg": "Ed25519", "typ": TYPE, "kid": key.thumbprint()}
    return jws.serialize_compact(header, certificate.model_dump_json(), key, algorithms=_ALGORITHMS)


def verify(text: str, trusted: Iterable[OKPKey]) -> Certificate:
    """The certificate's claims, if one of the trusted keys signed them. Raises CertificateRejected."""
    for key in trusted:
        try:
            token = jws.deserialize_compact(text, key, algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            continue
        if token.headers().get("typ") != TYPE:
            raise CertificateRejected("not an approval certificate")
        try:
            return Certificate.model_validate_json(token.payload)
        except ValidationError as error:
            raise CertificateRejected("the certificate's claims are malformed") from error
    raise CertificateRejected("no trusted key signed this certificate")
