"""The operation's keyed digest: what an approval covers, exactly (G5), without storing what it covers (G4).

HMAC-SHA-256 (RFC 2104) over the fields of the canonical operation, each preceded by its length, so that no two
different operations have the same canonical bytes.
"""

import hmac
from collections.abc import Iterable


def digest(key: bytes, fields: Iterable[str | bytes]) -> str:
    """64 lower-case hex digits."""
    parts: list[bytes] = []
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        parts += (len(data).to_bytes(8, "big"), data)
    return hmac.digest(key, b"".join(parts), "sha256").hex()
