"""The connections to one HTTP upstream, and how long each step of a request may take.

    a free connection   `connect`, and at most half of `first_byte`, so that some is left for the reply
    connecting          `connect`
    sending a body      `idle` for each piece that the upstream takes; for the agent's next piece inbound.py waits
    the reply's head    `first_byte`, from the request's last byte

A request is sent once: aiohttp would by itself repeat GET, HEAD, OPTIONS, TRACE, PUT and DELETE when a kept connection
breaks before the reply, and an upstream that broke after it had acted would act twice on one attempt (G5).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from services.runtime.settings.connectors import HttpConnector, Timeouts

#: Largest single header field and start line of a reply.
MAX_REPLY_FIELD = 32 * 1024
#: Seconds for which a connection is kept unused. One that the upstream closes in the moment it is used is a 502.
KEPT = 15.0
#: Names that aiohttp would add by itself; the agent's own, or none, are sent instead.
_NO_DEFAULTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class PoolBusy(Exception):
    """All connections that the settings allow to this upstream are in use."""


def open_session(settings: HttpConnector) -> ClientSession:
    """A client session that adds nothing, follows nothing and repeats nothing."""
    session = ClientSession(
        connector=_Pool(settings),
        timeout=ClientTimeout(total=None, connect=None, sock_connect=settings.timeouts.connect),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_NO_DEFAULTS,
        max_field_size=MAX_REPLY_FIELD,
        max_line_size=MAX_REPLY_FIELD,
        trust_env=False,
    )
    session._retry_connection = False  # it has no public name; aiohttp's own test client sets it so
    return session


@contextmanager
def paced(body: AsyncIterator[bytes], limit: asyncio.Timeout, timeouts: Timeouts) -> Iterator[AsyncIterator[bytes]]:
    """The body, whose pieces set the request's time limit until the reply has begun, maybe before they are through."""
    over = False

    def within(seconds: float | None) -> None:
        if not (over or limit.expired()):
            limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    async def pieces() -> AsyncIterator[bytes]:
        within(None)  # connected: from here on it is for the agent to send
        async for piece in body:
            within(timeouts.idle)
            yield piece
            within(None)
        within(timeouts.first_byte)

    try:
        yield pieces()
    finally:
        over = True


class _Pool(TCPConnector):
    """aiohttp's pool, which would let a request wait for a free connection without end."""

    def __init__(self, settings: HttpConnector) -> None:
        super().__init__(limit=settings.pool, limit_per_host=0, ttl_dns_cache=10, keepalive_timeout=KEPT)
        self._patience = min(settings.timeouts.connect, settings.timeouts.first_byte / 2)

    async def _wait_for_available_connection(self, *waiting: Any) -> None:
        """Called only when all are in use. Raises PoolBusy."""
        try:
            async with asyncio.timeout(self._patience):
                await super()._wait_for_available_connection(*waiting)
        except TimeoutError:
            raise PoolBusy from None
