"""A small HTTP/1.1 load generator: closed loop, one request at a time per connection, latency of each in milliseconds.

It is an asyncio protocol rather than a client library, so that it takes as little as possible of the two cores that
everything shares.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Result:
    """Latencies in milliseconds, and the wall-clock seconds they took together."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: int = 0

    @property
    def per_second(self) -> float:
        """Completed requests a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Latency below which `share` of the requests stayed, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


class _Client(asyncio.Protocol):
    """One connection: sends the next request when the reply is complete."""

    def __init__(self, request: bytes, deadline: float, result: Result, done: asyncio.Future[None]) -> None:
        self._request, self._deadline, self._result, self._done = request, deadline, result, done
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not _complete(self._buffer):
            return
        self._result.latencies.append((time.perf_counter() - self._sent) * 1000)
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._result.errors += 1
        self._buffer = b""
        if time.perf_counter() < self._deadline:
            self._next()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def run(url: str, token: str, clients: int, seconds: float, body: bytes) -> Result:
    """POST `body` to `url` from `clients` connections for `seconds`."""
    host, _, rest = url.removeprefix("http://").partition(":")
    port, _, path = rest.partition("/")
    request = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    loop = asyncio.get_running_loop()
    result, started = Result(), time.perf_counter()
    futures: list[asyncio.Future[None]] = []
    for _ in range(clients):
        done = loop.create_future()
        futures.append(done)
        await loop.create_connection(
            lambda done=done: _Client(request, started + seconds, result, done),  # type: ignore[misc]
            host,
            int(port),
        )
    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*futures)
    result.seconds = time.perf_counter() - started
    return result


def _complete(reply: bytes) -> bool:
    head, separator, body = reply.partition(b"\r\n\r\n")
    if not separator:
        return False
    lower = head.lower()
    if (at := lower.find(b"content-length:")) >= 0:
        return len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")
