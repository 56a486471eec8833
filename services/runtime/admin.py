"""`/-/health/live`, `/-/health/ready` and `/-/metrics`: the same for every service.

Live means the process is not stuck; ready means it can do its work now, each named check passing. A load balancer
takes an unready copy out; an orchestrator restarts one that is not live.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from services.runtime.settings.values import Address

#: True, or what is wrong in a few words.
Check = Callable[[], bool | str]


@dataclass
class Health:
    """Named checks of one service."""

    service: str
    checks: dict[str, Check] = field(default_factory=dict)
    draining: bool = False

    def failures(self) -> dict[str, str]:
        """What keeps the service from being ready; empty when it is."""
        found = {} if not self.draining else {"draining": "shutting down"}
        for name, check in self.checks.items():
            result = check()
            if result is not True:
                found[name] = result or "failing"
        return found


def live(health: Health) -> web.Response:
    """200 while the event loop turns."""
    return web.json_response({"service": health.service, "live": True})


def ready(health: Health) -> web.Response:
    """200, or 503 with what is missing."""
    failures = health.failures()
    body: Mapping[str, object] = {"service": health.service, "ready": not failures, "failing": failures}
    return web.json_response(body, status=503 if failures else 200)


def metrics(registry: CollectorRegistry) -> web.Response:
    """Prometheus text exposition."""
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """The admin pages as an aiohttp application, to which a service may add its own."""
    app = web.Application()

    async def get_live(_: web.Request) -> web.Response:
        return live(health)

    async def get_ready(_: web.Request) -> web.Response:
        return ready(health)

    async def get_metrics(_: web.Request) -> web.Response:
        return metrics(registry)

    app.router.add_get("/-/health/live", get_live)
    app.router.add_get("/-/health/ready", get_ready)
    app.router.add_get("/-/metrics", get_metrics)
    return app


async def serve(app: web.Application, address: Address) -> tuple[web.AppRunner, Address]:
    """Listen; returns the runner to clean up, and the real address. Raises OSError when the port is taken."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, address.host, address.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, Address(host=host, port=port)
