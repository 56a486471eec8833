"""Operations under a time-boxed grant: counted, refused once it is gone, and ended with it however long they run."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from nats.js.errors import KeyNotFoundError

from schemas.approvals import Grant, GrantUses, uses_key
from schemas.base import new_id, utc_now
from schemas.events import OperationAttempted
from schemas.verdicts import Decision, Verdict
from services.ingress import lasting
from services.ingress.errors import Denied
from services.ingress.lasting import Lasting
from services.runtime.certificates import sign
from tests.conftest import until
from tests.ingress.test_holding import People, people, status_of

__all__ = ["people"]  # a fixture


def made(**changes: Any) -> Grant:
    """A grant of the agent's."""
    values: dict[str, Any] = {
        "grant_id": new_id(),
        "approval_id": new_id(),
        "issuer": "countersign-local",
        "subject": "agent-7",
        "rule": "ask",
        "connector": "vendor",
        "policy_version": "v1",
        "approved_by": "grace",
        "expires_at": utc_now() + timedelta(hours=1),
        "certificate": "",
    }
    return Grant(**(values | changes))


async def give(people: People, grant: Grant) -> Grant:
    """Put it in force, and have policy answer with it."""

    def by_grant(attempt: OperationAttempted) -> Verdict:
        claims = {"kind": "grant", "operation_digest": "", "max_uses": grant.max_uses, "expires_at": grant.expires_at}
        certificate = sign(people.certificate(attempt, grant.grant_id, **claims), people.key)
        return Verdict(decision=Decision.ALLOW, rules=("ask",), policy_version="v1", certificate=certificate)

    await people.grants.put(grant.grant_id, grant.model_dump_json().encode())
    people.gateway.decide = by_grant
    return grant


async def test_a_bounded_grant_is_used_so_often_and_no_more(people: People) -> None:
    grant = await give(people, made(max_uses=3))
    answers = await asyncio.gather(*(status_of(people.gateway) for _ in range(8)))
    assert sorted(answers) == [(200, "")] * 3 + [(403, "approval_refused")] * 5
    assert len(people.gateway.upstream.bodies) == 3
    entry = await people.grants.get(uses_key(grant.grant_id))
    assert GrantUses.model_validate_json(entry.value).uses == 3


async def test_the_number_that_counts_is_the_signed_one(people: People) -> None:
    """Whoever could write the bucket could not lift the bound."""
    grant = await give(people, made(max_uses=1))
    lifted = grant.model_copy(update={"max_uses": 1000})
    await people.grants.put(grant.grant_id, lifted.model_dump_json().encode())
    assert [(await status_of(people.gateway))[0] for _ in range(2)] == [200, 403]


async def test_a_count_that_was_tidied_away_opens_nothing(people: People) -> None:
    grant = await give(people, made(max_uses=2))
    assert (await status_of(people.gateway))[0] == 200
    await people.grants.purge(uses_key(grant.grant_id))
    assert await status_of(people.gateway) == (403, "approval_refused")


async def endless(people: People) -> asyncio.Event:
    """Have the upstream stream for ever; set once somebody has hung up on it."""
    hung_up = asyncio.Event()

    async def stream(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"more and more\n")
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.CancelledError):
            hung_up.set()
            raise

    people.gateway.upstream.answer = stream
    return hung_up


def an_hour_later(people: People, grant: Grant) -> None:
    """What runs under the grant is timed to end with it; that moment comes now."""
    [scope] = people.gateway.ingress.parts.lasting._watched[grant.grant_id].scopes
    now = asyncio.get_running_loop().time()
    assert scope.timeout.when() == pytest.approx(now + (grant.expires_at - utc_now()).total_seconds(), abs=60)
    scope.timeout.reschedule(now)


@pytest.mark.parametrize("by", ["revocation", "expiry"])
async def test_a_streamed_reply_ends_with_the_grant(people: People, by: str) -> None:
    hung_up = await endless(people)
    grant = await give(people, made())
    async with people.gateway.call("GET", "/vendor/stream") as reply:
        assert reply.status == 200
        assert await reply.content.readany()
        if by == "revocation":
            await people.grants.purge(grant.grant_id)
        else:
            an_hour_later(people, grant)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(60):
                await reply.content.read()
    await asyncio.wait_for(hung_up.wait(), 60)
    outcome = await people.gateway.outcome()
    assert outcome["outcome"] == "failed"
    words = "it was revoked" if by == "revocation" else "its window is over"
    assert outcome["error"] == f"the grant ended while this ran: {words}"


async def test_a_websocket_closes_with_the_grant(people: People) -> None:
    async def echo(request: web.Request, _: bytes) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    gateway = people.gateway
    gateway.upstream.answer = echo
    grant = await give(people, made())
    assert gateway.http
    fields = {"Authorization": f"Bearer {gateway.token()}"}
    async with gateway.http.ws_connect(gateway.url + "/vendor/live", headers=fields) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await people.grants.purge(grant.grant_id)
        async with asyncio.timeout(60):
            closing = await socket.receive()
        assert (closing.type, socket.close_code) == (WSMsgType.CLOSE, 1008)
    assert (await gateway.outcome())["error"] == "the grant ended while this ran: it was revoked"


async def _runs(watched: Lasting, grant: Grant) -> str:
    """Why what runs under the grant ended."""
    try:
        async with watched.under(grant):
            await asyncio.Event().wait()
    except Denied as ended:
        return ended.detail
    return ""


async def test_a_revocation_that_was_not_heard_is_found(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LOOK", 0.05)
    client = await people.gateway.bus.connect("ingress")
    watched = Lasting(client, people.grants, utc_now)  # not started: it hears nothing
    looking = asyncio.ensure_future(watched.run())
    grant = await give(people, made())
    running = asyncio.ensure_future(_runs(watched, grant))
    await people.grants.purge(grant.grant_id)
    assert "revoked" in await asyncio.wait_for(running, 60)
    looking.cancel()


async def test_a_grant_that_cannot_be_looked_up_does_not_last(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LOOK", 0.05)
    monkeypatch.setattr(lasting, "PATIENCE", 0.3)
    grant = await give(people, made())
    parts = people.gateway.ingress.parts
    monkeypatch.setattr(parts.lasting, "_grants", _Away())
    looking = asyncio.ensure_future(parts.lasting.run())
    assert "cannot be found out" in await asyncio.wait_for(_runs(parts.lasting, grant), 60)
    looking.cancel()


class _Away:
    """A bucket of a bus that does not answer."""

    async def get(self, _: str) -> None:
        raise TimeoutError


async def test_its_own_timeouts_stay_what_they_are(people: People) -> None:
    with pytest.raises(TimeoutError):
        async with people.gateway.ingress.parts.lasting.under(made()):
            raise TimeoutError
    with pytest.raises(Denied):
        async with people.gateway.ingress.parts.lasting.under(made(expires_at=utc_now() - timedelta(seconds=1))):
            await asyncio.Event().wait()


async def test_ingress_counts_but_neither_gives_nor_takes_grants(people: People) -> None:
    complaints: list[str] = []

    async def note(error: Exception) -> None:
        complaints.append(str(error).lower())

    client = await people.gateway.bus.connect("ingress", error=note)
    grant = made()
    await client.publish(f"$KV.grants.{grant.grant_id}", grant.model_dump_json().encode())
    await client.flush()
    await until(lambda: any("permissions violation" in words for words in complaints))
    with pytest.raises(KeyNotFoundError):
        await people.grants.get(grant.grant_id)
