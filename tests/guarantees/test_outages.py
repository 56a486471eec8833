"""Parts that are silent, full or away: 503 and nothing forwarded, and back by itself (G1, G2; "dead parts")."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from nats.js.api import StreamConfig
from nats.js.errors import KeyWrongLastSequenceError

from schemas.subjects import AUDIT_STREAM, RECORDER_BUCKET
from services.recorder.position import decode, encode
from tests.conftest import until
from tests.guarantees.agents import Agents, Reply
from tests.guarantees.record import drained, examine, lost_numbers, stored
from tests.guarantees.stack import Stack
from tests.guarantees.traffic import Traffic

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def recovers(agents: Agents) -> None:
    """A request is served again, without anybody's help."""

    async def served() -> bool:
        return (await agents.post("charges", agents.nonce())).status == 200

    await until(served, 60)


@asynccontextmanager
async def silent(stack: Stack, name: str) -> AsyncIterator[None]:
    """A process that is there, keeps its connections, and does not answer."""
    stack.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.signal(name, signal.SIGCONT)


def refused(reply: Reply) -> bool:
    return (reply.status, reply.code, reply.headers["Content-Type"]) == (503, "no_verdict", "application/problem+json")


@pytest.mark.parametrize("name", ["policy", "nats"])
async def test_silence_is_a_503_and_a_late_answer_forwards_nothing(stack: Stack, name: str) -> None:
    agents = Agents(stack)
    nonce = agents.nonce()
    async with silent(stack, name):
        reply = await agents.post("charges", nonce)
    assert refused(reply), reply
    await recovers(agents)  # by now the late ack and verdict have been heard
    await drained(stack)
    assert nonce not in stack.upstream.received


async def test_a_full_stream_is_a_503_until_there_is_room(stack: Stack) -> None:
    agents, jetstream = Agents(stack), stack.admin.jetstream()
    await until(lambda: stored(stack))
    roomy: StreamConfig = (await jetstream.stream_info(AUDIT_STREAM)).config
    # Not what it holds just now: what the recorder has stored may be trimmed at any moment, and that makes room.
    await jetstream.update_stream(replace(roomy, max_bytes=1))
    try:
        nonces = [agents.nonce() for _ in range(5)]
        replies = [await agents.post("charges", nonce) for nonce in nonces]
    finally:
        await jetstream.update_stream(roomy)
    assert all(refused(reply) for reply in replies), replies
    await recovers(agents)
    await drained(stack)
    assert not set(nonces) & stack.upstream.received.keys()
    assert await lost_numbers(stack) == []  # attempts that were not stored are no lost events


async def test_while_nothing_is_recorded_traffic_goes_on_and_the_lag_shows(stack: Stack) -> None:
    """A rival copy holds the recorder's seat and writes nothing; when it falls silent the seat is taken back."""
    bucket = await stack.admin.jetstream().key_value(RECORDER_BUCKET)

    async def usurp() -> None:
        """Take the seat, or keep it; in vain where the recorder moved first."""
        entry = await bucket.get(AUDIT_STREAM)
        rival = replace(decode(entry.value or b""), writer="rival")
        with suppress(KeyWrongLastSequenceError):
            await bucket.update(AUDIT_STREAM, encode(rival.renew()), entry.revision)

    async def lag() -> float:
        return await stack.metric("recorder", 'countersign_recorder_lag_messages{stream="AUDIT"}') or 0.0

    async def behind() -> bool:
        await usurp()
        return await lag() > 50

    async with Traffic([stack.copies["ingress"].url], stack.token(), clients=2) as traffic:
        await until(behind)
        await until(lambda: traffic.ok() >= 50)
    assert traffic.statuses().keys() == {200}
    await drained(stack)
    await until(lambda: _below(lag, 1))
    findings = await examine(stack, traffic.sent)
    assert findings.duplicates == findings.missing == 0, findings.problems


async def _below(measure: object, limit: float) -> bool:
    return await measure() < limit  # type: ignore[operator,no-any-return]
