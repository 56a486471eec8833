"""Standard Webhooks 1.0: three headers, and HMAC-SHA256 over `id.timestamp.body`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. Pure.
"""

import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
#: Seconds by which a timestamp may differ from our clock, in either direction.
TOLERANCE = 300
#: Bytes of a secret ("Signature scheme": at least 24, 64 at most).
SHORTEST, LONGEST = 24, 64
_PREFIX = "whsec_"
#: An id that cannot be confused with what stands beside it in the signed text: no full stop.
_ID = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
_MOMENT = re.compile(r"^[0-9]{1,12}$")
#: Signatures of one request that are looked at: a sender has two secrets while it changes them.
MAX_SIGNATURES = 8


class NotSigned(Exception):
    """The request is not from somebody who knows the secret, or not from now."""


@dataclass(frozen=True)
class Signed:
    """A request that was signed with our secret a moment ago."""

    webhook_id: str
    body: bytes


def secret(text: str) -> bytes:
    """The key behind `whsec_…`. Raises ValueError, which never quotes it."""
    try:
        key = b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (Base64Error, ValueError):
        raise ValueError("is not Base64; write whsec_ and 24 to 64 bytes in Base64") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"has {len(key)} bytes; {SHORTEST} to {LONGEST} are allowed (`openssl rand -base64 32`)")
    return key


def headers(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers: signed with each key, so that the receiver may change its secret at leisure."""
    signatures = " ".join(f"v1,{_sign(key, webhook_id, str(timestamp), body)}" for key in keys)
    return {ID: webhook_id, TIMESTAMP: str(timestamp), SIGNATURE: signatures}


def verify(keys: Sequence[bytes], given: Mapping[str, str], body: bytes, now: float) -> Signed:
    """The request, if one of the keys signed it within the tolerance. Raises NotSigned."""
    webhook_id, timestamp = given.get(ID, ""), given.get(TIMESTAMP, "")
    if not _ID.match(webhook_id) or not _MOMENT.match(timestamp):
        raise NotSigned(f"{ID} or {TIMESTAMP} is missing or malformed")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise NotSigned(f"{TIMESTAMP} is more than {TOLERANCE} s from now; send it anew, or set the clock")
    wanted = [_sign(key, webhook_id, timestamp, body) for key in keys]
    found = given.get(SIGNATURE, "").split(" ")[:MAX_SIGNATURES]
    offered = [each.removeprefix("v1,") for each in found if each.startswith("v1,") and each.isascii()]
    # Each compared with each, whatever matched before: how long it takes tells nothing.
    matches = [hmac.compare_digest(one, other) for one in wanted for other in offered]
    if not any(matches):
        raise NotSigned(f"no {SIGNATURE} is by our secret")
    return Signed(webhook_id, body)


def _sign(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    return b64encode(hmac.digest(key, b".".join((webhook_id.encode(), timestamp.encode(), body)), "sha256")).decode()
