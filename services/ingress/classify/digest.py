"""The operation's keyed digest: what an approval covers, exactly (G5), without storing what it covers (G4).

HMAC-SHA-256 (RFC 2104) over the fields of the canonical operation, each preceded by its length, so that no two
different operations have the same canonical bytes.
"""

import hashlib
import hmac
from collections.abc import Iterable


def digest(key: bytes, fields: Iterable[str | bytes]) -> str:
    """64 lower-case hex digits."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        mac.update(len(data).to_bytes(8, "big"))
        mac.update(data)
    return mac.hexdigest()
