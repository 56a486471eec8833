"""The local issuer: `countersign token` mints, every service verifies, and no identity provider is needed.

Two files in the data directory: the private key, which only the minting side reads, and the public JWK Set,
which is all that a verifier needs. Counterpart: `verifier.py` takes `LocalKeys` as one more issuer.
"""

import os
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from schemas.base import new_id
from services.runtime.identity.algorithms import AllowedAlgorithms, PublicKey
from services.runtime.identity.keys import PublicKeys
from services.runtime.identity.mapping import map_identity
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import Algorithm, ClaimMapping, IssuerSettings, Kind

LOCAL_ISSUER = "countersign-local"
PRIVATE_FILE = "local-issuer.jwk"
PUBLIC_FILE = "local-issuer.pub.json"

#: A local token cannot be withdrawn on its own, so it must end by itself.
MAX_TTL = timedelta(days=90)
DEFAULT_TTL = timedelta(hours=12)

#: RFC 9864, section 2.2: the fully specified name, where `EdDSA` left the curve open.
_ALGORITHM: Algorithm = "Ed25519"

#: What a verifier expects of the local issuer. Built without validation because its name is no URL.
LOCAL_SETTINGS = IssuerSettings.model_construct(
    issuer=LOCAL_ISSUER,
    claims=ClaimMapping(kind="kind", owner="owner", connector="connector"),
    algorithms=(_ALGORITHM,),
)


class LocalIssuer:
    """The minting side. Whoever can read its directory can be anybody: the directory is the trust."""

    def __init__(self, key: OKPKey, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    def load_or_create(cls, directory: Path, clock: Callable[[], float] = time.time) -> "LocalIssuer":
        """The issuer of this directory; on first use it makes the key (mode 0600) and publishes its public
        half. Safe against another process that does the same: both end up with one key.

        Raises OSError, PermissionError if others may read the key, ValueError if it is not one.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / PRIVATE_FILE
        if not path.exists():
            key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": _ALGORITHM}, auto_kid=True)
            _create(path, orjson.dumps(key.as_dict(private=True)))
        issuer = cls(_read_private(path), clock)
        _publish(directory / PUBLIC_FILE, orjson.dumps(issuer.public_jwks()))
        return issuer

    def public_jwks(self) -> dict[str, Any]:
        """The JWK Set that verifies its tokens."""
        return {"keys": [self._key.as_dict(private=False)]}

    def mint(
        self,
        subject: str,
        groups: Collection[str] = (),
        kind: Kind = "agent",
        *,
        email: str = "",
        ttl: timedelta = DEFAULT_TTL,
        connector: str | None = None,
        owner: str = "",
    ) -> str:
        """A signed token, good from now for `ttl`. Raises ValueError with one line on what is wrong."""
        if not timedelta(0) < ttl <= MAX_TTL:
            raise ValueError(f"ttl: more than 0 and at most {MAX_TTL.days} days")
        described = {
            "sub": subject,
            "groups": list(groups),
            "kind": kind,
            "email": email,
            "owner": owner,
            "connector": connector,
        }
        claims = self._envelope(ttl) | {name: value for name, value in described.items() if value}
        try:
            map_identity(claims, LOCAL_SETTINGS)  # what no verifier would accept is not minted
        except TokenRejected as rejected:
            raise ValueError(rejected.detail) from None
        header = {"alg": _ALGORITHM, "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, registry=AllowedAlgorithms({_ALGORITHM}))

    def _envelope(self, ttl: timedelta) -> dict[str, Any]:
        """The claims about the token itself (RFC 7519, section 4.1)."""
        now = int(self._clock())
        expires = now + max(1, int(ttl.total_seconds()))
        return {
            "iss": LOCAL_ISSUER,
            "aud": "countersign",
            "iat": now,
            "nbf": now,
            "exp": expires,
            "jti": new_id(),
        }


class LocalKeys:
    """The verifying side: reads the public file again when a token names a key that it does not know."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / PUBLIC_FILE
        self._keys: PublicKeys | None = None
        self._version: tuple[int, int] | None = None

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The keys that may have signed. Raises TokenRejected: unknown_key or issuer_unavailable."""
        if self._keys is None or not self._keys.knows(kid):
            self._reload()
        if self._keys is None:
            raise TokenRejected(RejectionCode.ISSUER_UNAVAILABLE, "the local issuer has no public key yet")
        if found := self._keys.select(kid, algorithm):
            return found
        raise TokenRejected(RejectionCode.UNKNOWN_KEY, "the local issuer has no key that fits this token")

    def _reload(self) -> None:
        try:
            found = self._path.stat()
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                self._keys = PublicKeys.parse(orjson.loads(self._path.read_bytes()))
                self._version = version
        except (OSError, ValueError):
            # What was read before still counts; without it the caller says that nothing is there.
            return


def _read_private(path: Path) -> OKPKey:
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path}: others may read this key; run chmod 600 on it, or remove it")
    try:
        key = OKPKey.import_key(orjson.loads(path.read_bytes()))
    except (JoseError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path}: not a private key; remove it to get a new one") from error
    if not key.is_private:
        raise ValueError(f"{path}: not a private key; remove it to get a new one")
    key.ensure_kid()
    return key


def _create(path: Path, content: bytes) -> None:
    """Bring a whole file into being, or leave the one that another process brought first.

    `link` fails if the name is taken and never shows half a file; `open(O_EXCL)` would.
    """
    temporary = _write_temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _publish(path: Path, content: bytes) -> None:
    """Replace the public file if it is not what the key says."""
    if path.exists() and path.read_bytes() == content:
        return
    temporary = _write_temporary(path, content)
    temporary.chmod(0o644)
    temporary.replace(path)


def _write_temporary(path: Path, content: bytes) -> Path:
    """A synced file beside `path`, readable by its owner only."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)
