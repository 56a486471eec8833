"""What runs under a grant ends with it, even where a cancellation is lost on the way (G5)."""

import asyncio
from contextlib import suppress

import pytest

from schemas import subjects
from schemas.base import utc_now
from services.ingress import lasting
from services.ingress.errors import Denied
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus
from tests.ingress.test_grants import made


async def test_what_lost_its_cancellation_is_cancelled_again(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LOOK", 0.05)
    client = await bus.connect("ingress")
    bucket = await client.jetstream().key_value(subjects.GRANTS_BUCKET)
    admin = await (await bus.connect("admin")).jetstream().key_value(subjects.GRANTS_BUCKET)
    grant = made()
    await admin.put(grant.grant_id, grant.model_dump_json().encode())
    running = lasting.Lasting(client, bucket, utc_now)
    tasks = TaskGroup("test")
    tasks.start(running.run(), "lasting")

    async def loses_it_twice() -> None:
        async with asyncio.timeout(60), running.under(grant):
            await admin.purge(grant.grant_id)
            for _ in range(2):  # as Python 3.11's `wait_for` does when a result and the cancellation come at once
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            await asyncio.Event().wait()

    with pytest.raises(Denied, match="it was revoked") as refused:
        await loses_it_twice()
    assert refused.value.code == "grant_ended"
    await tasks.cancel()
