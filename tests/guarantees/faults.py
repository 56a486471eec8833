"""`make faults`: rounds of traffic in which random processes die by SIGKILL, and the record is examined after each.

    python -m tests.guarantees.faults --rounds 20 --seed 7

Two copies of ingress and policy, one of approver and recorder, one NATS. In each round one or two of them die at random
moments and are started again while the agents go on. Prints a table, and exits 1 when a guarantee was broken. The seed
makes the choice of victims and moments repeatable, never the interleaving.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import until
from tests.guarantees.agents import Agents
from tests.guarantees.record import Findings, drained, examine, ingresses, last_seq
from tests.guarantees.stack import Stack
from tests.guarantees.traffic import Sent, Traffic
from tests.guarantees.upstream import serving

COPIES = ("recorder", "policy", "policy-2", "approver", "ingress", "ingress-2")
VICTIMS = (*COPIES, "nats")
#: Requests in one round, and after how many of them the last victim may die.
REQUESTS = (200, 600)
#: Share of rounds with two victims at once.
TWO = 0.35


@dataclass
class Tally:
    """All rounds together."""

    rounds: int = 0
    approvals: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    replies: Counter[int | None] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    problems: list[str] = field(default_factory=list)

    def table(self, seconds: float, forwarded: int) -> str:
        """What to print in the end."""
        kills = ", ".join(f"{name} {self.kills[name]}" for name in sorted(self.kills))
        outcomes = self.findings.outcomes
        rows = {
            "rounds": self.rounds,
            "kills": f"{sum(self.kills.values())} ({kills})",
            "requests sent": sum(self.replies.values()),
            "  200 / 503 / no reply": f"{self.replies[200]} / {self.replies[503]} / {self.replies[None]}",
            "reached the upstream": forwarded,
            "operations on record": self.findings.operations,
            "  forwarded / denied": f"{outcomes['forwarded']} / {outcomes['denied']}",
            "  failed / unknown": f"{outcomes['failed']} / {outcomes['unknown']}",
            "approvals used once": self.approvals,
            "duplicates": self.findings.duplicates,
            "missing": self.findings.missing,
            "problems": len(self.problems),
            "seconds": f"{seconds:.0f}",
        }
        return "\n".join(f"{name:<26}{value}" for name, value in rows.items())


async def one_round(stack: Stack, chance: random.Random) -> list[Sent]:
    """Traffic with deaths in the middle; everything lives again when it returns."""
    limit = chance.randint(*REQUESTS)
    victims = chance.sample(VICTIMS, 2 if chance.random() < TWO else 1)
    urls = [stack.copies[name].url for name in ("ingress", "ingress-2")]
    print(f"  {limit} requests, {' and '.join(victims)} die", flush=True)
    async with Traffic(urls, stack.token(), limit=limit) as traffic:
        await asyncio.gather(*(_die(stack, traffic, name, chance.randrange(limit), chance) for name in victims))
        await traffic.finished()
    return traffic.sent


async def approve_and_use(stack: Stack, agents: Agents, nonce: str, approval_id: str) -> list[str]:
    """A question asked before the deaths is answered after them, and its answer used twice; what went wrong."""
    decided = await agents.decide("approve", approval_id)
    shown = {"Countersign-Approval": approval_id}
    used = [(await agents.post("refunds", nonce, headers=shown)).status for _ in range(2)]
    told = (decided.status, used, stack.upstream.received[nonce])
    return [] if told == (200, [200, 403], 1) else [f"approval {approval_id}: decided, used, forwarded {told}"]


async def _die(stack: Stack, traffic: Traffic, name: str, moment: int, chance: random.Random) -> None:
    """Kill when that many requests were sent, and start again some requests later."""
    await until(lambda: traffic.begun >= moment, 120)
    await asyncio.sleep(chance.random() * 0.02)  # anywhere within a request, not always at its start
    await stack.kill(name)
    later = min(moment + chance.randrange(5, 60), traffic.limit)
    await until(lambda: traffic.begun >= later, 120)
    await stack.restart(name)


async def run(rounds: int, seed: int, root: Path) -> Tally:
    """All rounds on one stack. Stops after the first that breaks a guarantee."""
    chance, tally, sent, checked = random.Random(seed), Tally(), [], 0
    started = time.monotonic()
    async with AsyncExitStack() as exit_stack:
        upstream = await exit_stack.enter_async_context(serving())
        stack = await Stack(root, upstream, exit_stack).boot(COPIES)
        dead: set[str] = set()
        agents = Agents(stack)
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", flush=True)
            kills_before = stack.kills.get("ingress", 0)
            nonce = agents.nonce()
            approval_id = await agents.ask(nonce)
            sent += await one_round(stack, chance)
            tally.problems += await approve_and_use(stack, agents, nonce, approval_id)
            tally.approvals += 1
            await drained(stack)
            if stack.kills.get("ingress", 0) > kills_before:
                dead |= await ingresses(stack) - await _living(stack)
            tally.findings = await examine(stack, sent, dead, after=checked)
            tally.rounds, tally.kills, checked = number, Counter(stack.kills), await last_seq(stack)
            tally.replies = Counter(item.status for item in sent)
            tally.problems += tally.findings.problems
            if tally.problems:
                break
        print(tally.table(time.monotonic() - started, len(upstream.received)))
        print("\n".join(tally.problems))
    return tally


async def _living(stack: Stack) -> set[str]:
    """Ids of the ingresses that say they live."""
    bucket = await stack.admin.jetstream().key_value("ingresses")
    return set(await bucket.keys())


def main() -> None:
    """Parse, run, exit."""
    parser = argparse.ArgumentParser(prog="python -m tests.guarantees.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("COUNTERSIGN_FAULT_ROUNDS", "10")))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="keep data and logs here")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with TemporaryDirectory(prefix="countersign-faults-") as temporary:
        root = given.keep or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        tally = asyncio.run(run(given.rounds, given.seed, root))
    sys.exit(1 if tally.problems else 0)


if __name__ == "__main__":
    main()
