"""Which key may verify which algorithm: the table that key type confusion breaks on.

RFC 8725, section 3.1: "each key MUST be used with exactly one algorithm, and this MUST be checked when the
cryptographic operation is performed". joserfc does the cryptography; the choice is made here.
"""

from collections.abc import Collection
from typing import Any, get_args

from joserfc.errors import UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from services.runtime.identity.settings import Algorithm

PublicKey = RSAKey | ECKey | OKPKey

ALGORITHMS: frozenset[str] = frozenset(get_args(Algorithm))

#: A protected header holds `alg`, `kid`, `typ` and perhaps a certificate chain; longer is not a token's.
MAX_HEADER = 8 * 1024
#: All of a token. Directories put up to 200 groups into one (about 10 KiB); HTTP servers stop near 16 KiB.
MAX_TOKEN = 16 * 1024
#: Base64 of the 1,024 bytes that an RSA key of 8,192 bits makes.
MAX_SIGNATURE = 1_366

#: RFC 7518, section 3.1 and RFC 9864, section 2.2: the key type, and for curves the one curve.
_KEY_FOR: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}


def fits(key: PublicKey, algorithm: str) -> bool:
    """Whether this key may verify a signature made with `algorithm`."""
    key_type, curve = _KEY_FOR[algorithm]
    return key.key_type == key_type and (curve is None or key.get("crv") == curve) and key.alg in (None, algorithm)


class AllowedAlgorithms(JWSRegistry):
    """joserfc's algorithms, cut down to an allowlist, with the header limits of an access token."""

    max_header_length = MAX_HEADER
    max_payload_length = MAX_TOKEN
    max_signature_length = MAX_SIGNATURE

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        names = ALGORITHMS if allowed is None else ALGORITHMS & frozenset(allowed)
        # Header parameters that we do not know must be ignored (RFC 7515, section 4); those that may not be
        # are named in `crit`, which `envelope.py` refuses.
        super().__init__(algorithms=names, strict_check_header=False)
        self.names = names

    def get_alg(self, name: str) -> Any:
        """The algorithm, if allowed. Unlike joserfc's own it does not warn that RFC 9864 deprecates `EdDSA`:
        a verifier does not choose what the issuer writes. Raises UnsupportedAlgorithmError."""
        if name not in self.names:
            raise UnsupportedAlgorithmError("not on the allowlist")
        return self.algorithms[name]
