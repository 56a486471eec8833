"""Every process dies by SIGKILL in the middle of traffic, and the record comes out whole (G1, G2, G6, G7)."""

import random

import pytest

from tests.conftest import until
from tests.guarantees.agents import Agents
from tests.guarantees.record import drained, examine, ingresses
from tests.guarantees.stack import Stack
from tests.guarantees.traffic import Traffic

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Replies between the beginning of a phase and its death, while the process is dead (one of each client), and after.
BEFORE, MEANWHILE, AFTER = (10, 60), 8, 20


async def dies(stack: Stack, traffic: Traffic, name: str, chance: random.Random) -> None:
    """One death at some moment of the traffic, and the way back: requests are served again."""
    goal = len(traffic.sent) + chance.randrange(*BEFORE)
    await until(lambda: len(traffic.sent) >= goal)
    await stack.kill(name)
    dead_since = len(traffic.sent)
    await until(lambda: len(traffic.sent) >= dead_since + MEANWHILE)
    await stack.restart(name)
    alive_since = len(traffic.sent)
    await until(lambda: traffic.ok(alive_since) >= AFTER)


async def withdrawn_with_its_ingress(agents: Agents, approval_id: str) -> None:
    """The caller's ingress is dead: its question is taken back, and a yes that comes too late opens nothing."""

    async def withdrawn() -> bool:
        return await agents.state(approval_id) == "withdrawn"

    await until(withdrawn, 60)
    assert (await agents.decide("approve", approval_id)).status == 409


async def test_whatever_dies_what_was_forwarded_is_on_record_once(stack: Stack) -> None:
    chance, agents, nonce = random.Random(20261), Agents(stack), Agents.nonce()
    caller = agents.waiting(nonce)
    approval_id = await agents.open_approval(nonce)
    async with Traffic([stack.copies["ingress"].url], stack.token()) as traffic:
        for name in ("ingress", "policy", "approver", "recorder", "nats"):
            await dies(stack, traffic, name, chance)
    assert (await caller).status == 0, "its connection broke"
    await withdrawn_with_its_ingress(agents, approval_id)
    await drained(stack)
    findings = await examine(stack, traffic.sent, dead=await ingresses(stack))
    assert findings.problems == []
    assert findings.outcomes["unknown"] > 0, "what the dead ingress left open is closed"
    assert nonce not in stack.upstream.received
