"""Witnesses: a file, an HTTP endpoint and Slack get checkpoints; one that is away holds nothing up."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from countersign.proof.command import notes_in
from examples.slack_standin import SlackStandin
from services.recorder.metrics import Metrics, make_metrics
from services.recorder.proof.note import Checkpoint, sign, verifier_key, verify
from services.recorder.witnesses import Mailbox, NotTaken, mailboxes, to_all, witness_of
from services.runtime.settings import Secret, SettingsError
from services.runtime.settings.audit import AuditSettings, WitnessSlack
from services.runtime.tasks import TaskGroup
from tests.conftest import until
from tests.recorder_proof.building import KEY

ORIGINS = ("example.com/audit", "example.com/recording")


def checkpoint(size: int, origin: str = ORIGINS[0]) -> Checkpoint:
    head = Checkpoint(origin, size, size.to_bytes(32))
    return Checkpoint(origin, size, head.root, sign(head, KEY))


class Endpoint:
    """A witness of somebody else's."""

    def __init__(self) -> None:
        self.status = 201
        self.bodies: list[str] = []
        self.refused = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.status != 201:
            self.refused += 1
            return web.Response(status=self.status)
        self.bodies.append(await request.text())
        return web.Response(status=201)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    application = web.Application()
    application.router.add_post("/{name:.*}", endpoint.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield endpoint
    await runner.cleanup()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    tasks = TaskGroup("witnesses")
    yield tasks
    await tasks.cancel()


@pytest.fixture
def metrics() -> Metrics:
    return make_metrics(CollectorRegistry())


async def test_each_kind_takes_what_is_signed(
    endpoint: Endpoint, tasks: TaskGroup, metrics: Metrics, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoints.txt"
    settings = AuditSettings(
        witnesses=(f"file:{file}", f"{endpoint.url}/take"), witness_every=0.01
    )  # fmt: skip
    boxes = mailboxes(settings, metrics)
    for box in boxes:
        tasks.start(box.deliver(), "witness")
    publish = to_all(boxes)
    for size in (1, 2):
        for origin in ORIGINS:
            publish(checkpoint(size, origin))
    last = {checkpoint(2, origin).note for origin in ORIGINS}
    await until(lambda: file.exists() and last <= set(notes_in(file.read_text())))
    await until(lambda: last <= set(endpoint.bodies))
    for note in [*notes_in(file.read_text()), *endpoint.bodies]:
        assert verify(note, verifier_key(KEY, note.partition("\n")[0]))


async def test_slack_gets_a_message() -> None:
    async with SlackStandin() as slack:
        channel = slack.workspace.channel(next(iter(slack.workspace.channels)))
        settings = AuditSettings(witness_slack=WitnessSlack(bot_token=Secret(slack.bot_token), api_url=slack.api_url))
        await witness_of(f"slack:#{channel.name}", settings).take(checkpoint(7))
        (posted,) = slack.messages(channel.id)
        assert checkpoint(7).note in posted.text
        with pytest.raises(NotTaken, match="channel_not_found"):
            await witness_of("slack:#elsewhere", settings).take(checkpoint(8))
    with pytest.raises(NotTaken):
        await witness_of(f"slack:#{channel.name}", settings).take(checkpoint(8))
    with pytest.raises(SettingsError, match="witness_slack"):
        witness_of("slack:#audit-log", AuditSettings())


async def test_one_that_is_away_gets_the_newest_when_it_is_back(
    endpoint: Endpoint, tasks: TaskGroup, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.recorder.witnesses._FIRST_WAIT", 0.01)
    endpoint.status = 503
    box = Mailbox("https", witness_of(f"{endpoint.url}/take", AuditSettings()), 0.01, metrics)
    tasks.start(box.deliver(), "witness")
    for size in range(1, 50):
        box.put(checkpoint(size))
    await until(lambda: endpoint.refused > 2)
    box.put(checkpoint(50))
    lag = metrics.witness_lag.labels("https")
    assert lag._value.get() > 0
    endpoint.status = 201
    await until(lambda: checkpoint(50).note in endpoint.bodies)
    assert endpoint.bodies in ([checkpoint(50).note], [checkpoint(49).note, checkpoint(50).note])  # one was on its way
    await until(lambda: lag._value.get() == 0)


async def test_what_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match="No such file"):
        await witness_of(f"file:{tmp_path}/nowhere/x", AuditSettings()).take(checkpoint(1))
    with pytest.raises(NotTaken):
        await witness_of("http://127.0.0.1:1/take", AuditSettings()).take(checkpoint(1))
    for wrong in ("file:relative", "ftp://x", "slack:general", ""):
        with pytest.raises(ValidationError):
            AuditSettings(witnesses=(wrong,))
