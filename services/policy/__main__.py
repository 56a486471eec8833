"""`python -m services.policy`: hears attempts, answers verdicts. Any number of copies share the work."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from nats.aio.client import Client

from schemas.base import utc_now
from services.policy.listen import Stop, listen, listen_traced
from services.policy.metrics import Metrics
from services.policy.on_attempt import Judge
from services.policy.store import Store
from services.runtime import admin
from services.runtime.nats.broker import make_broker
from services.runtime.nats.client import address, connect
from services.runtime.service import Context, run

#: Seconds between two looks for grants that have run out.
SWEEP_EVERY = 30.0


@dataclass
class Running:
    """The parts of a started service."""

    stop_listening: Stop
    client: Client
    judge: Judge
    runner: web.AppRunner
    drain: float

    async def stop(self) -> None:
        """Hear no more attempts, answer those under way, close."""
        await self.stop_listening()
        await self.judge.asking.drain(self.drain)
        await self.client.drain()
        await self.runner.cleanup()


async def start(context: Context) -> Running:
    """Connect, read the policy, then listen."""
    bus = address("policy", context.settings.nats, context.data)
    store: Store | None = None

    async def reconnected() -> None:
        if store is not None:
            await store.reread()

    client = await connect(bus, reconnected=reconnected)
    metrics = Metrics(context.registry)
    store = Store(client, metrics)
    await store.start(context.tasks)
    judge = Judge(store, client, metrics, ack_within=context.settings.limits.verdict_timeout)
    if context.tracer_provider:
        stop = await listen_traced(make_broker(bus, context.registry, context.tracer_provider), judge)
    else:
        stop = await listen(client, judge)
    context.tasks.start(_sweep(store), "expire grants")
    context.health.checks |= {
        "bus": lambda: client.is_connected or "not connected",
        "policy": store.policy_check,
        "watch": store.watch_check,
    }
    runner, listening = await admin.serve(
        admin.application(context.health, context.registry), context.settings.listen.policy
    )
    context.listening["policy"] = listening
    return Running(stop, client, judge, runner, context.settings.limits.drain)


async def _sweep(store: Store) -> None:
    while True:
        store.expire(utc_now())
        await asyncio.sleep(SWEEP_EVERY)


if __name__ == "__main__":
    run("policy", start)
