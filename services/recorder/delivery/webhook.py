"""POSTs a batch as JSON lines, signed as Standard Webhooks have it (standardwebhooks.com). Any 2xx takes the batch."""

import base64
import binascii
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import aiohttp

from services.recorder.delivery.messages import Message
from services.recorder.delivery.refusal import NotTaken

_PREFIX: Final = "whsec_"
#: Bytes of a key, by the specification.
_KEY: Final = range(24, 65)
TOO_LARGE: Final = 413
#: Seconds: a receiver may ask for patience, not for silence.
LONGEST_WAIT: Final = 300.0


def signing_key(secret: str) -> bytes:
    """The key in `whsec_…`. Raises ValueError, which says nothing of it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY:
        raise ValueError("a webhook's secret is whsec_ and 24 to 64 bytes in Base64")
    return key


def signature(key: bytes, identifier: str, moment: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{identifier}.{moment}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Webhook:
    """One receiver of POSTs."""

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 15,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._key, self._headers, self._clock = url, key, dict(headers or {}), clock
        self._tls: ssl.SSLContext | bool = tls or True
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, identifier: str, messages: Sequence[Message]) -> None:
        """Returns when the batch is taken. Raises NotTaken."""
        body = b"\n".join(message.body for message in messages) + b"\n"
        moment = int(self._clock())
        headers = {
            **self._headers,
            "Content-Type": "application/x-ndjson",
            "webhook-id": identifier,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(self._key, identifier, moment, body),
        }
        session = self._opened()
        try:
            async with session.post(
                self._url, data=body, headers=headers, ssl=self._tls, allow_redirects=False
            ) as reply:
                if not 200 <= reply.status < 300:
                    wait = _retry_after(reply.headers.get("Retry-After", ""))
                    raise NotTaken(f"status {reply.status}", too_large=reply.status == TOO_LARGE, wait=wait)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotTaken(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No cookies, no proxy's credentials out of the environment: the address says where it goes.
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _retry_after(value: str) -> float | None:
    """Seconds of `Retry-After` (RFC 9110, section 10.2.3); a date is not worth reading."""
    return min(float(value), LONGEST_WAIT) if value.isdecimal() else None
