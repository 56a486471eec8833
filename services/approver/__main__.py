"""The approver's process: `python -m services.approver --config countersign.yaml --data DIR`.

Listens on `listen.approver` for health, metrics and, with a signing secret, Slack's interactivity requests.
"""

from dataclasses import dataclass

from aiohttp import web
from faststream.nats import NatsBroker
from nats.aio.client import Client

from schemas import subjects
from schemas.base import utc_now
from services.approver import configured, on_ingress, on_query, on_requested
from services.approver.announcer import Announcer
from services.approver.desk import Desk
from services.approver.granted import Granted
from services.approver.metrics import Metrics
from services.approver.notifier import Notifier
from services.approver.store import Approvals
from services.approver.sweeper import Sweeper
from services.approver.watching import Watching
from services.runtime import admin, keys
from services.runtime.identity.local import LocalKeys
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.nats.broker import make_broker
from services.runtime.nats.client import address, connect
from services.runtime.service import Context, run
from services.runtime.settings import SettingsError
from services.runtime.tasks import TaskGroup


@dataclass
class Approver:
    """A started approver."""

    context: Context
    client: Client
    broker: NatsBroker
    desk: Desk
    verifier: TokenVerifier
    runner: web.AppRunner

    async def stop(self) -> None:
        """Hear nobody any more, finish what was clicked, leave the bus."""
        for channel in self.desk.channels:
            await channel.stop()
        await self.runner.cleanup()
        await self.broker.stop()
        await self.desk.tasks.drain(self.context.settings.limits.drain)
        await self.context.tasks.cancel()
        await self.verifier.close()
        await self.client.close()


async def start(context: Context) -> Approver:
    """Build the parts and listen. Raises SettingsError, OSError."""
    verifier = _verifier(context)
    bus = address("approver", context.settings.nats, context.data)
    client = await connect(bus)
    desk = await _desk(context, client)
    watching = Watching(client, desk.approvals.bucket)
    granted = Granted(client, desk.announcer.grants)
    app = admin.application(context.health, context.registry)
    broker = make_broker(bus, context.registry, context.tracer_provider)
    on_requested.subscribe(broker, desk.approvals)
    on_ingress.subscribe(broker, desk)
    on_query.subscribe(broker, on_query.Api(desk, watching, granted, verifier))
    desk.channels += await configured.channels(context, desk, client, verifier)
    for channel in desk.channels:
        channel.subscribe(broker)
        channel.serve(app)
    await _background(context, desk, watching, granted, verifier)
    await broker.start()
    await broker.connection.flush()  # now the bus knows us: whoever reads "ready" is answered
    _checks(context, client, desk, watching)
    runner, context.listening["approver"] = await admin.serve(app, context.settings.listen.approver)
    for channel in desk.channels:
        await channel.start()
    return Approver(context, client, broker, desk, verifier, runner)


def _verifier(context: Context) -> TokenVerifier:
    identity = context.settings.identity
    try:
        return TokenVerifier(identity.issuers, LocalKeys(context.data.keys) if identity.accepts_local else None)
    except (ValueError, OSError) as error:
        raise SettingsError(f"countersign.yaml: {error}") from None


async def _desk(context: Context, client: Client) -> Desk:
    jetstream = client.jetstream()
    key = keys.signing_key(context.settings.approvals, context.data)
    approvals = Approvals(await jetstream.key_value(subjects.APPROVALS_BUCKET))
    announcer = Announcer(jetstream, approvals, await jetstream.key_value(subjects.GRANTS_BUCKET), key)
    work = TaskGroup("approver desk", on_error=context.fail)
    return Desk(approvals, announcer, key, Metrics(context.registry), work, utc_now)


async def _background(
    context: Context, desk: Desk, watching: Watching, granted: Granted, verifier: TokenVerifier
) -> None:
    jetstream = desk.announcer.jetstream
    sweeper = Sweeper(
        watching=watching,
        desk=desk,
        announcer=desk.announcer,
        ingresses=await jetstream.key_value(subjects.INGRESSES_BUCKET),
        granted=granted,
        grants=desk.announcer.grants,
        notifier=Notifier(desk),
        clock=utc_now,
    )
    desk.metrics.watch(watching, utc_now)
    context.tasks.start(watching.run(), "watching")
    context.tasks.start(granted.run(), "granted")
    context.tasks.start(sweeper.run(), "sweeper")
    context.tasks.start(verifier.keep_fresh(), "issuers")


def _checks(context: Context, client: Client, desk: Desk, watching: Watching) -> None:
    context.health.checks |= {
        "bus": lambda: client.is_connected or "not connected",
        "approvals": lambda: watching.current or "not read yet",
    }
    # A channel that is away does not make a copy unready: people still decide by the others. It is a metric.
    for channel in desk.channels:
        desk.metrics.watch_channel(channel.name, channel.check)


if __name__ == "__main__":
    run("approver", start)
