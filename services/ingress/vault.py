"""What placeholders stand for: values encrypted in a NATS bucket with a time to live, never in the audit.

`Replacer` makes the pairs (`masking.replace`); they are stored before the text with the placeholders goes out, and
looked up only on the way to a destination whose rule says `restore`. Each value is sealed by AES-256-GCM (NIST SP
800-38D) under its placeholder's name, so that no entry can be moved to another name.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from schemas import subjects
from services.ingress.errors import GatewayError

#: A random nonce of 96 bits: safe for 2^32 values under one key.
NONCE_BYTES = 12
#: Seconds for all the writes or reads of one body; after them nothing passes.
DEADLINE = 2.0
#: Writes and reads under way at once, for one body.
PARALLEL = 64
#: Placeholders looked up for one body; one with more is refused.
LOOKUP_LIMIT = 1000
#: Placeholders remembered to be stored, so that a value in every prompt of a conversation is not written each time …
REMEMBERED = 50_000
#: … for so many seconds: a small part of the bucket's time to live, which each write starts anew.
REMEMBERED_SECONDS = 3600.0


T = TypeVar("T")


class Vault:
    """Stores and looks up placeholders' values."""

    def __init__(self, bucket: KeyValue, secret: bytes) -> None:
        self._bucket = bucket
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"countersign vault").derive(secret))
        self._stored: OrderedDict[str, float] = OrderedDict()

    async def store(self, pairs: Mapping[str, str]) -> None:
        """Keep placeholder to value. Raises GatewayError when they could not all be stored: then nothing may go out."""
        fresh = {token: value for token, value in pairs.items() if not self._remembers(token)}
        if fresh:
            await _all_in_time([self._put(token, value) for token, value in fresh.items()])

    async def lookup(self, tokens: Iterable[str]) -> dict[str, str]:
        """The values of those placeholders that are known. Raises GatewayError when that cannot be found out."""
        wanted = sorted(set(tokens))
        if len(wanted) > LOOKUP_LIMIT:
            raise GatewayError(413, "too_many_placeholders", f"more than {LOOKUP_LIMIT} placeholders in one body")
        values = await _all_in_time([self._get(token) for token in wanted])
        return {token: value for token, value in zip(wanted, values, strict=True) if value is not None}

    async def _put(self, token: str, value: str) -> None:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, value.encode("utf-8", "surrogatepass"), token.encode())
        await self._bucket.put(token, nonce + sealed)
        self._stored[token] = time.monotonic() + REMEMBERED_SECONDS
        self._stored.move_to_end(token)
        if len(self._stored) > REMEMBERED:
            self._stored.popitem(last=False)

    async def _get(self, token: str) -> str | None:
        try:
            entry = await self._bucket.get(token)
        except KeyNotFoundError:
            return None
        sealed = entry.value or b""
        try:
            opened = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], token.encode())
        except (InvalidTag, ValueError):
            raise _unavailable("a placeholder's value was sealed with another key") from None
        return opened.decode("utf-8", "surrogatepass")

    def _remembers(self, token: str) -> bool:
        return self._stored.get(token, 0.0) > time.monotonic()


async def open_vault(jetstream: JetStreamContext, secret: bytes) -> Vault:
    """The vault in its bucket; `secret` is the same at every ingress, at least 32 bytes."""
    return Vault(await jetstream.key_value(subjects.VAULT_BUCKET), secret)


async def _all_in_time(steps: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Run the steps, some at a time; all of them succeed within DEADLINE, or it is a GatewayError."""
    room = asyncio.Semaphore(PARALLEL)

    async def within(step: Coroutine[Any, Any, T]) -> T:
        async with room:
            return await step

    try:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.gather(*(within(step) for step in steps))
    except (NatsError, TimeoutError, OSError) as error:
        raise _unavailable("the values of placeholders could not be stored or read in time") from error


def _unavailable(why: str) -> GatewayError:
    return GatewayError(503, "vault_unavailable", why, retryable=True)
