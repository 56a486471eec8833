"""Order within a session (G8), and limits that reach the sender (G10), on a gateway of real processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import until
from tests.guarantees.agents import Agents
from tests.guarantees.record import Audit, drained
from tests.guarantees.stack import OPERATIONS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def connection(stack: Stack) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One agent's connection, byte by byte its own."""
    host, _, port = stack.copies["ingress"].listening["http"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def request(stack: Stack, nonce: str) -> bytes:
    body = f'{{"nonce": "{nonce}"}}'
    head = f"POST /vendor/charges/{nonce} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {stack.token()}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def test_pipelined_requests_reach_the_upstream_in_the_order_they_were_sent(stack: Stack) -> None:
    """RFC 9112, section 9.3.2: all sent at once; the first one is slow, and none overtakes it."""
    nonces = [Agents.nonce() for _ in range(12)]
    stack.upstream.answering.clear()
    async with connection(stack) as (reader, writer):
        writer.write(b"".join(request(stack, nonce) for nonce in nonces))
        await until(lambda: stack.upstream.hanging)
        assert not set(nonces[1:]) & stack.upstream.received.keys()
        stack.upstream.answering.set()
        for nonce in nonces:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert nonce in (await reader.readuntil(b"}")).decode()
    assert [nonce for nonce in stack.upstream.order if nonce in set(nonces)] == nonces


async def test_more_operations_than_one_ingress_may_hold_are_refused_at_once(stack: Stack) -> None:
    agents, extra = Agents(stack), 5
    nonces = [agents.nonce() for _ in range(OPERATIONS)]
    stack.upstream.answering.clear()
    try:
        held = [asyncio.create_task(agents.post("charges", nonce)) for nonce in nonces]
        await until(lambda: stack.upstream.hanging == OPERATIONS)
        refused = [await agents.post("charges", agents.nonce()) for _ in range(extra)]
    finally:
        stack.upstream.answering.set()
    assert [reply.status for reply in refused] == [503] * extra
    assert [(await task).status for task in held] == [200] * OPERATIONS


async def test_a_caller_that_leaves_is_on_record_and_so_is_what_it_had_begun(stack: Stack) -> None:
    nonce = Agents.nonce()
    stack.upstream.answering.clear()
    try:
        async with connection(stack) as (_, writer):
            writer.write(request(stack, nonce))
            await until(lambda: stack.upstream.received[nonce])
        await drained(stack)
    finally:
        stack.upstream.answering.set()
    (row,) = await Audit(stack).sql(f"SELECT outcome FROM operations WHERE resources[1] = '/charges/{nonce}'")
    assert row["outcome"] == "failed"
