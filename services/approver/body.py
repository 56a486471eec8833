"""The body of a request to the approver's listener, read up to a limit and for a limited time."""

import asyncio

from aiohttp import web

#: Seconds for a body to arrive: what people's browsers and receivers send fits into one packet or a few.
ARRIVES = 10.0


class TooMuch(Exception):
    """The body is longer than allowed, or did not arrive in time."""


async def bounded(request: web.Request, limit: int) -> bytes:
    """All of it, at most `limit` bytes. Raises TooMuch."""
    body = b""
    try:
        async with asyncio.timeout(ARRIVES):
            while len(body) <= limit and not request.content.at_eof():
                body += await request.content.read(limit + 1 - len(body))
    except TimeoutError:
        raise TooMuch(f"the body did not arrive within {ARRIVES:g} s") from None
    if len(body) > limit:
        raise TooMuch(f"at most {limit:,} bytes are read")
    return body
