"""What a restart of ingress does to those it serves: they are told the truth, and so is the record."""

import asyncio
from contextlib import suppress

from aiohttp import ClientError, web

from schemas.events import ApprovalState
from tests.conftest import until
from tests.ingress.conftest import Gateway
from tests.ingress.test_holding import Held, People, people

__all__ = ["people"]


async def test_a_held_request_is_told_to_come_back_and_its_question_stays(people: People) -> None:
    gateway, held = people.gateway, Held(people.gateway)
    call = asyncio.ensure_future(gateway.call("POST", "/vendor/pay", data=b"{}").__aenter__())
    attempt = await held.attempt()
    await people.record(attempt, held.approval_id, ApprovalState.REQUESTED)
    assert gateway.ingress
    await until(lambda: gateway.ingress and gateway.ingress.parts.gate._people)  # people are waited for
    await gateway.stop()
    reply = await call
    assert (reply.status, (await reply.json())["error"]["code"]) == (503, "approval_pending")
    assert reply.headers["Location"] == f"/-/approvals/{held.approval_id}"
    assert held.approval_id in (await reply.json())["detail"]
    assert (await gateway.outcome())["outcome"] == "deferred"
    record = await people.load(held.approval_id)
    assert (record.state, record.awaited) == ("requested", False)
    assert gateway.events("ApprovalWithdrawn") == []


async def test_what_the_drain_cuts_off_is_recorded_as_cut_off(gateway: Gateway) -> None:
    await gateway.boot(limits={"drain": "100ms"})
    begun = asyncio.Event()

    async def endless(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"token ")
        begun.set()
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        return response

    gateway.upstream.answer = endless
    call = asyncio.ensure_future(gateway.call("GET", "/vendor/x").__aenter__())
    await begun.wait()
    await gateway.stop()
    outcome = await gateway.outcome()
    assert (outcome["outcome"], outcome["error"]) == ("failed", "the gateway was shut down")
    with suppress(ClientError):
        (await call).close()
