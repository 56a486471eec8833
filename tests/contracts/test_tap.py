"""Whoever taps the bus as docs/asyncapi.yaml says hears everything and can say nothing."""

import signal

import nats
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from schemas import subjects
from schemas.events import SessionOpened
from tests.conftest import Bus, until
from tools.asyncapi.document import ABOUT, TAP

OPENED = SessionOpened(ingress="i-1", session_id="019a0000-0000-7000-8000-000000000000", protocol="http", peer="a:1")


async def tapping(bus: Bus, errors: list[str]) -> Client:
    """Put the user into the server's configuration, reload it, and connect."""
    config = bus.server.data.nats / "nats.conf"
    user = TAP.replace("$NATS_TAP_PASSWORD", "tapping-password")
    config.write_text(config.read_text().replace("  users: [\n", f"  users: [\n{user}", 1))
    assert bus.server.process
    bus.server.process.send_signal(signal.SIGHUP)

    async def note(error: Exception) -> None:
        errors.append(str(error))

    log = bus.server.data.nats / "nats.log"
    await until(lambda: "Reloaded server configuration" in log.read_text())
    options = {"inbox_prefix": "_INBOX_tap", "error_cb": note}
    return await nats.connect(bus.server.url, user="tap", password="tapping-password", **options)


async def test_a_tap_hears_live_and_from_the_stream_and_says_nothing(bus: Bus) -> None:
    assert TAP in ABOUT
    errors: list[str] = []
    tap = await tapping(bus, errors)
    live: list[bytes] = []

    async def hear(message) -> None:  # type: ignore[no-untyped-def]
        live.append(message.data)

    await tap.subscribe("cs.>", cb=hear)
    await tap.flush()
    payload = OPENED.model_dump_json().encode()
    await (await bus.connect("ingress")).jetstream().publish(subjects.of(OPENED), payload)
    await until(lambda: live)
    forgotten = ConsumerConfig(inactive_threshold=3600)
    kept = await tap.jetstream().pull_subscribe("cs.>", durable="tap", stream=subjects.AUDIT_STREAM, config=forgotten)
    (message,) = await kept.fetch(1, timeout=30)
    await message.ack_sync()
    assert live == [payload] == [message.data]
    assert errors == []
    for forbidden in ("cs.verdict.i.o", "cs.session.closed.http", "$JS.API.CONSUMER.CREATE.AUDIT.recorder"):
        errors.clear()
        await tap.publish(forbidden, b"{}")
        await tap.flush()
        await until(lambda: errors)
        assert "permissions violation" in errors[0]
    await tap.close()
