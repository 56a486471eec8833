"""What the agent sends: its body up to the inspection window, and what follows that as it comes.

Most bodies have arrived with their head: they are taken in one piece. Counterpart: outbound.py, what goes on from here.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader, web

from services.ingress.content import Content, coding_of, media_type
from services.ingress.errors import AgentError, AgentGone
from services.runtime.settings.model import Limits


async def read(request: web.BaseRequest, most: int, limits: Limits) -> tuple[Content, AsyncIterator[bytes] | None]:
    """The body within the inspection window, and what is still to come; `most` bytes in all.

    Raises AgentError when it is too large, too slow or broken, AgentGone when the agent has left.
    """
    if (request.content_length or 0) > most:
        raise _too_large(most)
    await _continue(request)
    fields, body = request.headers, request.content
    media, coding = media_type(fields.get("Content-Type", "")), coding_of(fields)
    if not request.can_read_body:
        return Content(b"", media, coding), None
    if has_arrived(body, min(most, limits.inspection_window)):
        return Content(body.read_nowait(), media, coding), None
    chunks = _incoming(body, most, limits.request_idle)
    raw, complete = await _window(chunks, limits.inspection_window)
    return Content(raw, media, coding, complete), None if complete else chunks


def has_arrived(body: StreamReader, most: int) -> bool:
    """Whether nothing is to be waited for: the body is here to its end, not broken, and not more than `most` bytes."""
    return body.is_eof() and body.total_bytes <= most and body.exception() is None


async def _continue(request: web.BaseRequest) -> None:
    """RFC 9110, section 10.1.1: ask for the body only once we are willing to read it."""
    expect = request.headers.get("Expect")
    if expect is None:
        return
    if expect.lower() != "100-continue":
        raise AgentError(417, "expectation_failed", "the only expectation that can be met is 100-continue", close=True)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _incoming(body: StreamReader, most: int, idle: float) -> AsyncIterator[bytes]:
    """The body as it arrives."""
    received = 0
    while not body.at_eof():
        try:
            if body.is_eof():  # it has all arrived: no waiting, no timer
                data = await body.readany()
            else:
                async with asyncio.timeout(idle):
                    data = await body.readany()
        except TimeoutError:
            raise AgentError(408, "body_timeout", "the body did not arrive in time", close=True) from None
        except web.RequestPayloadError:
            raise AgentError(400, "malformed", "the body's framing is broken", close=True) from None
        except (RuntimeError, ConnectionError):  # aiohttp's "Connection closed."
            raise AgentGone(400, "agent_gone", "the agent disconnected", close=True) from None
        received += len(data)
        if received > most:
            raise _too_large(most)
        if data:
            yield data


async def _window(chunks: AsyncIterator[bytes], window: int) -> tuple[bytes, bool]:
    """Read until the body ends or the window is full; True when it ended."""
    read: list[bytes] = []
    size = 0
    async for chunk in chunks:
        read.append(chunk)
        size += len(chunk)
        if size > window:
            return b"".join(read), False
    return b"".join(read), True


def _too_large(most: int) -> AgentError:
    return AgentError(413, "too_large", f"the body is larger than this connector's {most} bytes", close=True)
