"""A token as it came in: three base64 parts, of which nothing is believed until a signature holds.

joserfc parses and verifies (RFC 7515); this module sets what may stand in the header at all. `keys.py` says
which key may be tried.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from services.runtime.identity.algorithms import (
    ALGORITHMS,
    MAX_TOKEN,
    AllowedAlgorithms,
    PublicKey,
)
from services.runtime.identity.rejection import RejectionCode, TokenRejected

_PARSER = AllowedAlgorithms()

#: RFC 8725, section 3.11: kinds of JWT must not be taken for each other. These say "access" or "ID token";
#: a logout token, a security event or a client assertion says something else (RFC 9068, section 2.1).
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})

#: Everything that joserfc and the JSON parser raise on hostile input; RecursionError is deep nesting.
_PARSE_ERRORS = (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed token. `claims` are only a claim, in the word's other sense, until `verify_signature` returns."""

    signature: jws.CompactSignature
    algorithm: str
    kid: str | None
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        """`iss`, or an empty string."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) else ""


def open_envelope(token: str) -> Envelope:
    """Parse a compact JWS with a JSON object in it. Raises TokenRejected: malformed or algorithm."""
    if len(token) > MAX_TOKEN:
        raise _malformed(f"the token is longer than {MAX_TOKEN} bytes")
    try:
        signature = jws.extract_compact(token.encode("ascii"), registry=_PARSER)
        claims = orjson.loads(signature.payload)
    except _PARSE_ERRORS:
        raise _malformed("not a signed JWT in compact form") from None
    if not isinstance(claims, dict):
        raise _malformed("the payload is not a JSON object")
    algorithm, kid = _read_header(signature.headers())
    return Envelope(signature, algorithm, kid, claims)


def _read_header(header: Any) -> tuple[str, str | None]:
    if not isinstance(header, dict):
        raise _malformed("the header is not a JSON object")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRejected(RejectionCode.ALGORITHM, "the token is not signed with an accepted algorithm")
    # RFC 7515, section 4.1.11: who does not understand what `crit` lists must reject; we understand none.
    if "crit" in header:
        raise _malformed("the header has critical extensions")
    if kid is not None and not isinstance(kid, str):
        raise _malformed("the key id is not a string")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _malformed("this type of JWT is neither an access token nor an ID token")
    return algorithm, kid


def check_algorithm(envelope: Envelope, allowed: AllowedAlgorithms) -> None:
    """Return if the issuer's tokens may use this algorithm. Raises TokenRejected: algorithm."""
    if envelope.algorithm not in allowed.names:
        raise TokenRejected(RejectionCode.ALGORITHM, "this issuer's tokens may not use that algorithm")


def verify_signature(envelope: Envelope, keys: Iterable[PublicKey], allowed: AllowedAlgorithms) -> None:
    """Return if one of the keys verifies the signature. Raises TokenRejected: bad_signature.

    `jku`, `jwk`, `x5u` and `x5c` are never looked at: keys come from the issuer's configuration only
    (RFC 8725, section 3.10).
    """
    if not any(_verifies(envelope, key, allowed) for key in keys):
        raise TokenRejected(RejectionCode.BAD_SIGNATURE, "the signature does not verify")


def _verifies(envelope: Envelope, key: PublicKey, allowed: AllowedAlgorithms) -> bool:
    try:
        return jws.validate_compact(envelope.signature, key, registry=allowed)
    except _PARSE_ERRORS:
        return False


def _malformed(detail: str) -> TokenRejected:
    return TokenRejected(RejectionCode.MALFORMED, detail)
