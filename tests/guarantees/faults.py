"""`make faults`: rounds of traffic in which random processes die or freeze, and the record is examined after each.

    python -m tests.guarantees.faults --rounds 20 --seed 7

Two copies of ingress and policy, one of approver and recorder, one NATS. In each round one or two of them get SIGKILL,
or SIGSTOP for a while, at random moments, and are started again while the agents go on. Prints a table, and exits 1
when a guarantee was broken. The seed makes the choice of victims and moments repeatable, never the interleaving.
"""

import argparse
import asyncio
import os
import random
import signal
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
#: Share of rounds with two victims at once, of victims that are frozen instead of killed, and of those that stay so.
TWO, FROZEN, LASTING = 0.35, 0.25, 0.25
#: Seconds for which those stay dead or frozen: up to beyond every lease, time to live and grace.
LONG = (2.0, 22.0)
#: Victim, seconds, and whether it is frozen: an absence that outlasts whatever others wait for, and everybody at once.
WORST = (
    (("ingress", 25.0, True),),
    (("nats", 22.0, False),),
    tuple((name, 0.0, False) for name in VICTIMS),
    (("nats", 15.0, True), ("recorder", 18.0, True)),
    (("policy", 10.0, True), ("policy-2", 10.0, False), ("ingress-2", 20.0, True)),
)
#: Seconds for a number of requests to be sent, in the worst of moments.
PATIENCE = 180.0


@dataclass
class Tally:
    """All rounds together."""

    rounds: int = 0
    approvals: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    freezes: Counter[str] = field(default_factory=Counter)
    replies: Counter[int | None] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    problems: list[str] = field(default_factory=list)

    def table(self, seconds: float, forwarded: int) -> str:
        """What to print in the end."""
        outcomes = self.findings.outcomes
        rows = {
            "rounds": self.rounds,
            "killed": _counted(self.kills),
            "frozen": _counted(self.freezes),
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


def _counted(names: Counter[str]) -> str:
    each = ", ".join(f"{name} {names[name]}" for name in sorted(names))
    return f"{sum(names.values())} ({each})" if names else "0"


@dataclass(frozen=True)
class Blow:
    """What befalls one process in a round."""

    name: str
    #: Requests sent before it; and between it and the way back.
    moment: int
    requests: int
    #: Seconds into that request; and for which it lasts at least.
    within: float
    seconds: float
    freeze: bool

    def __str__(self) -> str:
        return f"{self.name} {'frozen' if self.freeze else 'killed'} for {self.seconds:.0f} s"

    @classmethod
    def choose(cls, chance: random.Random, name: str, limit: int) -> "Blow":
        freeze = chance.random() < FROZEN
        seconds = chance.uniform(*LONG) if chance.random() < LASTING else 0.0
        return cls(name, chance.randrange(limit), chance.randrange(5, 60), chance.random() * 0.02, seconds, freeze)


def blows_of(number: int, chance: random.Random, limit: int) -> list[Blow]:
    """What befalls whom in this round: each fifth is one of the worst cases, the others are drawn."""
    worst, rest = divmod(number, 5)
    if not rest:
        kind = WORST[(worst - 1) % len(WORST)]
        return [Blow(name, limit // 3, 5, 0.0, seconds, freeze) for name, seconds, freeze in kind]
    victims = chance.sample(VICTIMS, 2 if chance.random() < TWO else 1)
    return [Blow.choose(chance, name, limit) for name in victims]


async def one_round(stack: Stack, chance: random.Random, number: int) -> tuple[list[Sent], list[Blow]]:
    """Traffic with deaths in the middle; everything lives again when it returns."""
    limit = chance.randint(*REQUESTS)
    blows = blows_of(number, chance, limit)
    urls = [stack.copies[name].url for name in ("ingress", "ingress-2")]
    print(f"  {limit} requests; {', '.join(map(str, blows))}", flush=True)
    async with Traffic(urls, stack.token(), limit=limit) as traffic:
        await asyncio.gather(*(_strike(stack, traffic, blow) for blow in blows))
        await traffic.finished()
    return traffic.sent, blows


async def approve_and_use(stack: Stack, agents: Agents, nonce: str, approval_id: str) -> list[str]:
    """A question asked before the deaths is answered after them, and its answer used twice; what went wrong."""

    async def decided() -> bool:
        # An approver hears of a new question a few seconds late when the bus has just come back.
        return (await agents.decide("approve", approval_id)).status == 200

    await until(decided, PATIENCE)
    shown = {"Countersign-Approval": approval_id}
    used = [(await agents.post("refunds", nonce, headers=shown)).status for _ in range(2)]
    told = (used, stack.upstream.received[nonce])
    return [] if told == ([200, 403], 1) else [f"approval {approval_id}: used, forwarded {told}"]


async def _strike(stack: Stack, traffic: Traffic, blow: Blow) -> None:
    """Kill or freeze when that many requests were sent, and undo it some requests, or some seconds, later."""
    await until(lambda: traffic.begun >= blow.moment, PATIENCE)
    await asyncio.sleep(blow.within)  # anywhere within a request, not always at its start
    if blow.freeze:
        stack.signal(blow.name, signal.SIGSTOP)
    else:
        await stack.kill(blow.name)
    await asyncio.sleep(blow.seconds)
    later = min(blow.moment + blow.requests, traffic.limit)
    await until(lambda: blow.freeze or traffic.begun >= later, PATIENCE)
    if blow.freeze:
        stack.signal(blow.name, signal.SIGCONT)
    else:
        await stack.restart(blow.name)


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
            more, blows = await one_round(stack, chance, number)
            sent += more
            tally.freezes.update(blow.name.partition("-")[0] for blow in blows if blow.freeze)
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
        forwarded = sum(item.nonce in upstream.received for item in sent)
        print(tally.table(time.monotonic() - started, forwarded))
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
