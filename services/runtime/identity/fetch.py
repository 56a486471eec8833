"""One JSON document from an issuer: bounded in size, time and redirects, and how long it may be kept.

Counterpart: `jwks.py`, which decides what to fetch and when.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from yarl import URL

#: The largest real key sets, with certificate chains, are near 40 KiB.
MAX_DOCUMENT = 256 * 1024
#: Seconds for all of one document: a request of an agent may be waiting for it.
FETCH_TIMEOUT = 4.0
CONNECT_TIMEOUT = 2.0
#: Within one origin; an issuer that adds a slash needs one.
MAX_REDIRECTS = 2

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})\b")
_UNCACHED = re.compile(r"\bno-(?:store|cache)\b")

SessionFactory = Callable[[], aiohttp.ClientSession]


class FetchError(Exception):
    """The document could not be had. The text is one line for the log; it quotes nothing that was received."""


@dataclass(frozen=True, slots=True)
class Document:
    """A decoded JSON object and the seconds it stays fresh, or None if the server did not say."""

    content: dict[str, Any]
    max_age: float | None


def new_session() -> aiohttp.ClientSession:
    """A client that takes neither proxies from the environment nor cookies."""
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT, connect=CONNECT_TIMEOUT)
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def fetch_document(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext, *, revalidate: bool = False
) -> Document:
    """GET a JSON object. `revalidate` asks caches on the way to check theirs. Raises FetchError."""
    try:
        async with asyncio.timeout(FETCH_TIMEOUT):
            return await _follow(session, url, tls, revalidate)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise FetchError(f"{url}: {type(error).__name__}") from error
    except ValueError as error:
        raise FetchError(f"{url}: not a usable answer") from error


async def _follow(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext, fresh: bool) -> Document:
    # Compressed replies are declined: a small one could expand without end.
    headers = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
    if fresh:
        headers["Cache-Control"] = "no-cache"
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(target, headers=headers, allow_redirects=False, ssl=tls) as response:
            if response.status not in _REDIRECTS:
                return await _read(response, url)
            target = _redirected(target, response)
    raise FetchError(f"{url}: more than {MAX_REDIRECTS} redirects")


def _redirected(source: str, response: aiohttp.ClientResponse) -> str:
    """Where to go next; never to another origin, which nobody configured."""
    target = URL(source).join(URL(response.headers.get("Location", "")))
    if target.origin() != URL(source).origin():
        raise FetchError(f"{source}: redirected to another host")
    return str(target)


async def _read(response: aiohttp.ClientResponse, url: str) -> Document:
    if response.status != 200:
        raise FetchError(f"{url}: status {response.status}")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_DOCUMENT:
            raise FetchError(f"{url}: longer than {MAX_DOCUMENT} bytes")
    content = orjson.loads(body)
    if not isinstance(content, dict):
        raise FetchError(f"{url}: the answer is not a JSON object")
    return Document(content, freshness(response.headers.get("Cache-Control", ""), response.headers.get("Age", "")))


def freshness(cache_control: str, age: str) -> float | None:
    """Seconds that a response stays fresh (RFC 9111, section 4.2), or None if it does not say."""
    directives = cache_control.lower()
    if _UNCACHED.search(directives):
        return 0.0
    found = _MAX_AGE.search(directives)
    if found is None:
        return None
    spent = int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0
    return float(max(0, int(found[1]) - spent))
