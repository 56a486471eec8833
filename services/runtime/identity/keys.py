"""An issuer's public keys: a JWK Set (RFC 7517) reduced to those that can verify a token.

Counterparts: `jwks.py` fetches the set of a remote issuer, `local.py` reads that of the local one.
"""

import warnings
from collections.abc import Callable
from typing import Any, Protocol

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.runtime.identity.algorithms import PublicKey, fits

#: Large directories publish about a dozen; more than this is not a key set that anybody rotates.
MAX_KEYS = 64
#: Bits. RFC 7518, section 3.3 asks for 2,048; beyond 8,192 one verification costs milliseconds.
MAX_RSA_BITS = 8_192

_IMPORTERS: dict[str, Callable[[dict[str, Any]], PublicKey]] = {
    "RSA": RSAKey.import_key,
    "EC": ECKey.import_key,
    "OKP": OKPKey.import_key,
}
#: What is read of a JWK: its public half and what it is for. A `d` that somebody published is left behind.
_MEMBERS = frozenset({"kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"})

_IMPORT_ERRORS = (JoseError, SecurityWarning, ValueError, TypeError, LookupError, ArithmeticError)


class KeySource(Protocol):
    """Where a verifier gets an issuer's keys from."""

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys to try, at least one. Raises TokenRejected: unknown_key or issuer_unavailable."""
        ...


class PublicKeys:
    """A parsed key set. Immutable; a rotation replaces the whole."""

    def __init__(self, keys: tuple[PublicKey, ...]) -> None:
        self._keys = keys
        self._kids = frozenset(key.kid for key in keys if key.kid is not None)

    @classmethod
    def parse(cls, document: object) -> "PublicKeys":
        """From a decoded JWK Set. Keys of unknown kinds are skipped (RFC 7517, section 5), as are keys for
        encryption and keys too weak to trust. Raises ValueError if no key is left."""
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list) or len(entries) > MAX_KEYS:
            raise ValueError(f"not a JWK Set of at most {MAX_KEYS} keys")
        keys = tuple(key for entry in entries if (key := _import(entry)) is not None)
        if not keys:
            raise ValueError("the JWK Set has no key that verifies signatures")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, kid: str | None) -> bool:
        """Whether a key of this id is in the set; a newer set cannot help a token that names none."""
        return kid is None or kid in self._kids

    def select(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys that may have made this signature.

        Without a `kid` the choice must be unambiguous (OpenID Connect Core, section 10.1). With one, several
        keys may share it (RFC 7517, section 4.5): all are the issuer's, so each may be tried.
        """
        fitting = tuple(key for key in self._keys if fits(key, algorithm))
        if kid is None:
            return fitting if len(fitting) == 1 else ()
        return tuple(key for key in fitting if key.kid == kid)


def _import(entry: object) -> PublicKey | None:
    """One JWK as a public signature key, or None if it is not one that we would trust."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not _may_verify(entry):
        return None
    importer = _IMPORTERS.get(str(entry.get("kty")))
    if importer is None:
        return None
    try:
        with warnings.catch_warnings():
            # joserfc warns of RSA keys under 2,048 bits; RFC 7518, section 3.3 forbids them.
            warnings.simplefilter("error", SecurityWarning)
            key = importer({name: value for name, value in entry.items() if name in _MEMBERS})
    except _IMPORT_ERRORS:
        return None
    return None if isinstance(key, RSAKey) and key.raw_value.key_size > MAX_RSA_BITS else key


def _may_verify(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return isinstance(operations, list) and "verify" in operations
