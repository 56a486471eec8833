"""The recorder as a process, on a real NATS and its own chDB directory: killed, started again, read from, refused."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from countersign.proof.content import verify_content
from countersign.proof.findings import Report
from countersign.proof.log import verify_log
from countersign.proof.tables import verify_tables
from countersign.record import Endpoint
from countersign.where import Gateway
from schemas import subjects as s
from services.recorder.proof.note import VerifierKey
from services.runtime.identity.local import LocalIssuer
from tests.conftest import Bus, until
from tests.recorder import events as e

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
connectors: {}
listen: {recorder: "127.0.0.1:0", clickhouse: "127.0.0.1:0"}
audit: {batch_age: 50ms, batch_rows: 400, checkpoint_every: 1s, checkpoint_events: 1000}
"""


class Recorder:
    """One `python -m services.recorder` after another, on the same data directory."""

    def __init__(self, bus: Bus, http: aiohttp.ClientSession, directory: Path) -> None:
        self.bus, self.http = bus, http
        self.data = bus.server.data
        self.config = directory / "countersign.yaml"
        self.config.write_text(SETTINGS)
        self.log = directory / "recorder.log"
        self.listening: dict[str, str] = {}
        self.process: asyncio.subprocess.Process | None = None

    async def launch(self) -> asyncio.subprocess.Process:
        arguments = ["-m", "services.recorder", "--config", str(self.config), "--data", str(self.data.root)]
        address = self.bus.address("recorder")
        with self.log.open("ab") as log:  # a pipe that nobody reads would stop it
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=ROOT,
                env=os.environ
                | {"COUNTERSIGN_NATS": address.servers[0], "COUNTERSIGN_NATS_PASSWORD": address.password},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def start(self) -> None:
        self.process = await self.launch()
        assert self.process.stdout
        line = await asyncio.wait_for(self.process.stdout.readline(), 120)
        assert line, self.log.read_text()
        self.listening = json.loads(line)["listening"]

    async def kill(self) -> None:
        assert self.process
        self.process.kill()
        await self.process.communicate()

    async def terminate(self) -> int:
        assert self.process
        self.process.terminate()
        await asyncio.wait_for(self.process.communicate(), 90)
        return self.process.returncode or 0

    async def get(self, path: str) -> tuple[int, str]:
        async with self.http.get(f"http://{self.listening['recorder']}{path}") as reply:
            return reply.status, await reply.text()

    async def query(self, sql: str, **headers: str) -> tuple[int, str]:
        """Ask the embedded endpoint, as the user auditor unless headers say otherwise."""
        url = f"http://{self.listening['clickhouse']}/"
        password = self.data.audit_password.read_text()
        shown = headers or {"X-ClickHouse-User": "auditor", "X-ClickHouse-Key": password}
        async with self.http.post(url, data=sql, headers=shown, params={"database": "countersign"}) as reply:
            return reply.status, await reply.text()

    async def number(self, sql: str) -> int:
        status, text = await self.query(sql)
        assert status == 200, text
        return int(text)


@pytest.fixture
async def recorder(bus: Bus, tmp_path: Path) -> AsyncIterator[Recorder]:
    async with aiohttp.ClientSession() as http:
        recorder = Recorder(bus, http, tmp_path)
        yield recorder
        if recorder.process and recorder.process.returncode is None:
            await recorder.kill()


async def test_killed_again_and_again_it_stores_each_event_once(bus: Bus, recorder: Recorder) -> None:
    """G7: kill -9 in the middle of inserts while events keep coming."""
    client = await bus.connect("admin")
    published = 0

    async def publishing() -> None:
        nonlocal published
        for number in range(20):
            published += await e.publish(client, e.stories(150, f"ingress-{number}"))

    work = asyncio.ensure_future(publishing())
    for kill in range(1, 5):
        await recorder.start()
        # Some batches are in, more are on their way: every kill hits another moment.
        await until(lambda kill=kill: _stored(recorder, 450 * kill), timeout=120)  # type: ignore[misc]
        await recorder.kill()
    await work
    assert published == 9000
    await recorder.start()
    await until(lambda: _stored(recorder, 9000), timeout=120)
    for table, expected in {"events": 9000, "attempts": 3000, "verdicts": 3000, "outcomes": 3000}.items():
        assert await recorder.number(f"SELECT count() FROM {table}") == expected, table
        assert await recorder.number(f"SELECT uniqExact(event_id) FROM {table}") == expected, table
    assert await recorder.number("SELECT uniqExact(stream_seq) FROM events") == 9000
    assert await recorder.number("SELECT count() FROM operations WHERE outcome = 'forwarded'") == 3000
    assert await recorder.number("SELECT count() FROM dead_letters") == 0
    # G9: the log that was sealed between the kills holds, and there is no false alarm.
    await until(lambda: _sealed(recorder, 9000), timeout=120)
    report = await asyncio.to_thread(_verified, recorder)
    assert report.ok, report.findings
    assert (report.compared, report.logs[0].sealed) == (9000, 9000)
    assert report.logs[0].checkpoints > 5


def _verified(recorder: Recorder) -> Report:
    """`countersign audit verify`, over HTTP."""
    password = recorder.data.audit_password.read_text()
    headers = {"X-ClickHouse-User": "auditor", "X-ClickHouse-Key": password, "X-ClickHouse-Database": "countersign"}
    record = Endpoint(Gateway(f"http://{recorder.listening['clickhouse']}"), headers)
    report = Report()
    for line in (recorder.data.keys / "log.vkey").read_text().splitlines():
        key = VerifierKey.parse(line)
        verify_log(record, key.name.rpartition("/")[2].upper(), key, [], report)
    verify_tables(record, report)
    verify_content(record, report)
    return report


async def _sealed(recorder: Recorder, expected: int) -> bool:
    return await recorder.number("SELECT max(tree_size) FROM checkpoints WHERE stream = 'AUDIT'") >= expected


async def _stored(recorder: Recorder, expected: int) -> bool:
    return await recorder.number("SELECT count() FROM events") >= expected


async def test_it_closes_what_a_dead_ingress_left_open(bus: Bus, recorder: Recorder) -> None:
    """G6: one ingress is gone, one lives; only the former's attempts are closed, each once."""
    client = await bus.connect("admin")
    alive = await client.jetstream().key_value(s.INGRESSES_BUCKET)
    left = [e.attempt("dead-ingress") for _ in range(20)]
    finished, running = e.attempt("dead-ingress"), e.attempt("live-ingress")
    await e.publish(client, [*left, finished, e.outcome(finished), running])
    await recorder.start()

    async def closed() -> bool:
        await alive.put("live-ingress", b"")
        return await recorder.number("SELECT count() FROM operations WHERE outcome = 'unknown'") == 20

    await until(closed)
    assert await recorder.number("SELECT count() FROM outcomes WHERE presumed") == 20
    assert await recorder.number("SELECT count() FROM operations WHERE outcome = ''") == 1
    assert await recorder.number("SELECT count() FROM operations") == 22


async def test_it_serves_health_metrics_and_the_record(bus: Bus, recorder: Recorder) -> None:
    client = await bus.connect("admin")
    await e.publish(client, e.stories(10))
    await client.jetstream().publish("cs.outcome.http.openai", b"no event")
    await recorder.start()
    await until(lambda: _stored(recorder, 30))
    await until(lambda: _ready(recorder))
    await until(lambda: _has(recorder, 'countersign_recorder_dead_letters_total{stream="AUDIT"} 1.0'))
    await until(lambda: _has(recorder, 'countersign_recorder_lag_messages{stream="AUDIT"} 0.0'))
    _, metrics = await recorder.get("/-/metrics")
    assert 'countersign_recorder_inserted_rows_total{table="attempts"} 10.0' in metrics
    assert 'countersign_recorder_writer{stream="AUDIT"} 1.0' in metrics
    assert await recorder.terminate() == 0


async def _ready(recorder: Recorder) -> bool:
    return (await recorder.get("/-/health/ready"))[0] == 200


async def _has(recorder: Recorder, line: str) -> bool:
    return line in (await recorder.get("/-/metrics"))[1]


async def test_only_readers_may_read(bus: Bus, recorder: Recorder) -> None:
    await recorder.start()
    issuer = LocalIssuer.load_or_create(recorder.data.keys)

    def token(**claims: Any) -> str:
        return issuer.mint("someone", ttl=timedelta(minutes=5), **claims)

    reader = token(groups=["auditors"], kind="human")
    assert (await recorder.query("SELECT 1", Authorization=f"Bearer {reader}"))[0] == 200
    as_password = {"X-ClickHouse-User": "someone", "X-ClickHouse-Key": reader}
    assert (await recorder.query("SELECT 1", **as_password))[0] == 200
    for headers in (
        {"Authorization": f"Bearer {token(groups=['agents'])}"},
        {"Authorization": f"Bearer {token(groups=['auditors'], connector='openai')}"},
        {"Authorization": "Bearer nonsense"},
        {"X-ClickHouse-User": "auditor", "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": recorder.data.audit_password.read_text()},
    ):
        status, _ = await recorder.query("SELECT 1", **headers)
        assert status in (401, 403), headers


async def test_a_second_recorder_on_the_same_directory_refuses_to_start(bus: Bus, recorder: Recorder) -> None:
    await recorder.start()
    recorder.log = recorder.log.with_name("second.log")
    second = await recorder.launch()
    out, _ = await asyncio.wait_for(second.communicate(), 90)
    assert second.returncode == 2
    assert out == b""
    (line,) = recorder.log.read_text().splitlines()
    assert "is open in another recorder" in line
