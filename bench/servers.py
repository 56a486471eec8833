"""The two ends a proxy is measured between: a minimal upstream, and a bare aiohttp proxy to compare with.

`python -m bench.servers upstream` and `python -m bench.servers proxy URL` print their own URL and serve until killed.
"""

import asyncio
import sys
from typing import cast

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

REPLY_BODY = b'{"id": "charge_1", "status": "succeeded", "amount": 4200}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    + str(len(REPLY_BODY)).encode()
    + b"\r\n\r\n"
    + REPLY_BODY
)


class _Upstream(asyncio.Protocol):
    """Answers every request with the same bytes once its body is there."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) >= length:
            self._buffer = b""
            self._transport.write(REPLY)


async def upstream() -> None:
    """Serve the fixed reply."""
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    _announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def proxy(target: str) -> None:
    """What an aiohttp proxy costs that does nothing but forward."""
    session = ClientSession(connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), auto_decompress=False)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        fields = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        async with session.request(request.method, target + request.raw_path, headers=fields, data=body) as reply:
            content = await reply.read()
            return web.Response(status=reply.status, body=content, content_type=reply.content_type)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(handle, access_log=None), "127.0.0.1", 0)
    _announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _announce(port: int) -> None:
    print(f"http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    uvloop.run(upstream() if sys.argv[1] == "upstream" else proxy(sys.argv[2]))
