"""Health and metrics pages, the same for every service."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from services.runtime import admin
from services.runtime.admin import Health
from services.runtime.settings import Address


@pytest.fixture
def health() -> Health:
    return Health("policy")


@pytest.fixture
async def http(health: Health) -> AsyncIterator[aiohttp.ClientSession]:
    registry = CollectorRegistry()
    Counter("countersign_things", "Things.", registry=registry).inc(3)
    runner, address = await admin.serve(admin.application(health, registry), Address(host="127.0.0.1", port=0))
    async with aiohttp.ClientSession(f"http://{address}") as session:
        yield session
    await runner.cleanup()


async def ready(http: aiohttp.ClientSession) -> tuple[int, dict[str, str]]:
    async with http.get("/-/health/ready") as reply:
        return reply.status, (await reply.json())["failing"]


async def test_ready_tells_what_is_missing(http: aiohttp.ClientSession, health: Health) -> None:
    assert await ready(http) == (200, {})
    health.checks["bus"] = lambda: "not connected"
    health.checks["policy"] = lambda: False
    health.checks["fine"] = lambda: True
    assert await ready(http) == (503, {"bus": "not connected", "policy": "failing"})


async def test_a_draining_service_takes_no_more_work_and_is_live(http: aiohttp.ClientSession, health: Health) -> None:
    health.draining = True
    assert await ready(http) == (503, {"draining": "shutting down"})
    async with http.get("/-/health/live") as reply:
        assert (reply.status, await reply.json()) == (200, {"service": "policy", "live": True})


async def test_metrics_are_prometheus_text(http: aiohttp.ClientSession) -> None:
    async with http.get("/-/metrics") as reply:
        assert reply.content_type == "text/plain"
        assert "countersign_things_total 3.0" in await reply.text()


async def test_a_taken_port_is_an_os_error(http: aiohttp.ClientSession, health: Health) -> None:
    taken = Address(host="127.0.0.1", port=http._base_url.port)  # type: ignore[union-attr]
    with pytest.raises(OSError, match="address already in use"):
        await admin.serve(admin.application(health, CollectorRegistry()), taken)
