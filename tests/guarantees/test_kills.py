"""Every service dies by SIGKILL in the middle of traffic, and the record comes out whole (G1, G2, G6, G7)."""

import random

import pytest

from tests.conftest import until
from tests.guarantees.record import Audit, drained, examine
from tests.guarantees.stack import Stack
from tests.guarantees.traffic import Traffic

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


async def ingress_ids(stack: Stack) -> set[str]:
    rows = await Audit(stack).sql("SELECT DISTINCT ingress FROM attempts")
    return {row["ingress"] for row in rows}


async def test_whatever_dies_what_was_forwarded_is_on_record_once(stack: Stack) -> None:
    chance = random.Random(20261)
    async with Traffic([stack.copies["ingress"].url], stack.token()) as traffic:
        await until(lambda: traffic.ok() >= 50)
        for name in ("ingress", "policy", "approver", "recorder", "nats"):
            goal = len(traffic.sent) + chance.randrange(10, 60)
            await until(lambda goal=goal: len(traffic.sent) >= goal)
            await stack.kill(name)
            seen = len(traffic.sent)
            await until(lambda seen=seen: len(traffic.sent) >= seen + 10)
            await stack.restart(name)
            seen = len(traffic.sent)
            await until(lambda seen=seen: traffic.ok(seen) >= 20)
    await drained(stack)
    findings = await examine(stack, traffic.sent, dead=await ingress_ids(stack))
    print(traffic.statuses(), findings)
    assert findings.problems == []
