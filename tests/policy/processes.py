"""Policy services as real processes, and the bus as an ingress sees it."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects
from schemas.events import OperationAttempted, VerdictReached
from schemas.verdicts import Verdict
from tests.conftest import Bus, until

SETTINGS = "connectors: {}\nlisten: {policy: 127.0.0.1:0}\n"


@dataclass
class Copy:
    """One running copy of the service."""

    process: Process
    address: str

    async def page(self, path: str) -> str:
        """Text of one of its admin pages."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.address}{path}") as reply:
            return await reply.text()

    async def in_force(self) -> str | None:
        """Version of the policy it judges with."""
        for line in (await self.page("/-/metrics")).splitlines():
            if line.startswith("countersign_policy_info{"):
                return line.split('"')[1]
        return None

    async def ready(self) -> bool:
        return bool(json.loads(await self.page("/-/health/ready"))["ready"])

    async def kill(self) -> None:
        """What a crash does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        return await self.process.wait()


async def start_copy(bus: Bus, directory: Path) -> Copy:
    """Start `python -m services.policy` and wait until it says where it listens."""
    config = directory / "countersign.yaml"
    config.write_text(SETTINGS)
    address = bus.address("policy")
    environment = {
        **os.environ,
        "COUNTERSIGN_NATS": address.servers[0],
        "COUNTERSIGN_NATS_PASSWORD": address.password,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    arguments = ["-m", "services.policy", "--config", str(config), "--data", str(directory / "data")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line, "the policy service did not start"
    return Copy(process, json.loads(line)["listening"]["policy"])


@dataclass
class Gate:
    """Publishes attempts as ingress does, and keeps the verdicts that come."""

    client: Client
    verdicts: dict[str, list[VerdictReached]] = field(default_factory=dict)

    async def listen(self) -> "Gate":
        async def hear(message: Msg) -> None:
            event = VerdictReached.model_validate_json(message.data)
            self.verdicts.setdefault(event.operation_id, []).append(event)

        await self.client.subscribe(subjects.verdicts_of("ingress-1"), cb=hear)
        await self.client.flush()
        return self

    async def attempt(self, attempt: OperationAttempted) -> None:
        """Publish with JetStream's ack, as the gate does."""
        await self.client.jetstream().publish(
            subjects.of(attempt), attempt.model_dump_json().encode(), stream=subjects.AUDIT_STREAM
        )

    async def verdict(self, attempt: OperationAttempted, timeout: float = 60.0) -> Verdict:
        """Publish one attempt and wait for its verdict."""
        await self.attempt(attempt)
        heard = await until(lambda: self.verdicts.get(attempt.operation_id), timeout)
        verdict: Verdict = heard[0].verdict
        return verdict
