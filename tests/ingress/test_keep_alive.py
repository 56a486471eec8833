"""A refusal keeps the agent's connection when it can, and says so when it cannot (RFC 9112, sections 9.3 and 9.6)."""

import asyncio

from tests.ingress.conftest import Gateway


def post(length: int, body: bytes) -> bytes:
    return b"POST /vendor/x HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % length + body


async def test_a_refusal_of_a_request_that_has_arrived_whole_keeps_the_connection(gateway: Gateway) -> None:
    await gateway.boot()
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(3):
        writer.write(post(4, b"body"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" not in head.lower()
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()
    await writer.wait_closed()


async def test_a_refusal_before_the_body_has_arrived_says_that_the_connection_ends(gateway: Gateway) -> None:
    await gateway.boot()
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(post(1000, b"the beginning"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in head.lower()
    await reader.read()  # to the end
    writer.close()
    await writer.wait_closed()
