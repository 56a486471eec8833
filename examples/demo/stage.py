"""Everything the demo needs, started and ended: sample upstreams, Slack or its stand-in, and `countersign up`."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples import sample_database, sample_llm, sample_vendor
from examples.demo.screen import Different
from examples.serving import serving
from examples.slack_standin import Limits, SlackStandin, User

CHANNEL = "#agent-approvals"
#: Whoever clicks in the stand-in: in the group that the policy asks for.
REVIEWER = User("U0GRACE", "grace", "grace@example.com")
#: Slack delivers a click that is not answered within three seconds three times more; on a busy machine that is few.
PATIENT = Limits(redeliveries=10)
HERE = Path(__file__).parent
#: Seconds until `countersign up` must be ready, on a machine that is busy with others.
START = 120


@dataclass
class Stage:
    """What the story plays on."""

    directory: Path
    endpoints: dict[str, str]
    shop: str
    slack: SlackStandin | None

    @property
    def gateway(self) -> str:
        """Where agents connect."""
        return self.endpoints["http"]

    @property
    def database_host(self) -> str:
        """Where database drivers connect."""
        return self.endpoints["postgres"].rpartition(":")[0]

    @property
    def database_port(self) -> int:
        """And on which port."""
        return int(self.endpoints["postgres"].rpartition(":")[2])

    async def countersign(self, *arguments: str) -> str:
        """Run the command `countersign`; returns what it printed. Raises Different when it fails."""
        data = ("--data", str(self.directory / "data"))
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "countersign", *arguments, *data, stdout=PIPE, stderr=PIPE
        )
        out, error = await child.communicate()
        if child.returncode:
            raise Different(f"countersign {arguments[0]}: {error.decode().strip()}")
        return out.decode().strip()


@asynccontextmanager
async def set_stage(directory: Path) -> AsyncIterator[Stage]:
    """Start everything in `directory`, and end it."""
    async with AsyncExitStack() as stack:
        llm = await stack.enter_async_context(serving(sample_llm.application()))
        shop = await stack.enter_async_context(serving(sample_vendor.application()))
        database = await stack.enter_async_context(sample_database.serving())
        slack = None
        if "SLACK_BOT_TOKEN" not in os.environ:
            slack = await stack.enter_async_context(SlackStandin(users=[REVIEWER], limits=PATIENT))
        environment = os.environ | {"DEMO_LLM_KEY": sample_llm.API_KEY, "DEMO_SHOP_KEY": sample_vendor.API_KEY}
        environment["DEMO_DATABASE_PASSWORD"] = sample_database.PASSWORD
        environment |= _slack_environment(slack)
        (directory / "countersign.yaml").write_text(json.dumps(_settings(llm, shop, database, slack)))
        (directory / "policy.yaml").write_text((HERE / "policy.yaml").read_text())
        up = await stack.enter_async_context(_countersign_up(directory, environment))
        yield Stage(directory, up, shop, slack)


def _slack_environment(slack: SlackStandin | None) -> dict[str, str]:
    if slack is None:
        return {}
    return {"SLACK_BOT_TOKEN": "xoxb-standin", "SLACK_APP_TOKEN": "xapp-standin"}


def _settings(llm: str, shop: str, database: Path, slack: SlackStandin | None) -> dict[str, Any]:
    """`countersign.yaml` of the demo (JSON is YAML)."""
    anywhere = "127.0.0.1:0"
    channel = os.environ.get("SLACK_CHANNEL", CHANNEL)
    asked = {"channel": channel, "bot_token": "${env:SLACK_BOT_TOKEN}", "app_token": "${env:SLACK_APP_TOKEN}"}
    person = os.environ.get("DEMO_REVIEWER_EMAIL", REVIEWER.email)
    return {
        "listen": dict.fromkeys(("http", "postgres", "clickhouse", "policy", "approver", "recorder"), anywhere),
        "limits": {"verdict_timeout": "20s"},
        "identity": {"people": [{"email": person, "groups": ["support-leads"]}]},
        "connectors": {
            "openai": {
                "upstream": llm,
                "inject": {"header": "Authorization", "value": "Bearer ${env:DEMO_LLM_KEY}"},
            },
            "shop": {"upstream": shop, "inject": {"header": "X-Shop-Key", "value": "${env:DEMO_SHOP_KEY}"}},
            "shop-db": {
                "protocol": "postgres",
                "upstream": {"host": str(database), "database": sample_database.DATABASE},
                "credential": {"user": sample_database.ROLE, "password": "${env:DEMO_DATABASE_PASSWORD}"},
            },
        },
        "approvals": {"slack": asked | ({"api_url": slack.api_url} if slack else {})},
        "telemetry": {"log": "json", "level": "warning"},
    }


@asynccontextmanager
async def _countersign_up(directory: Path, environment: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    with (directory / "up.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "countersign", "up", "--json"),
            *("--config", str(directory / "countersign.yaml"), "--data", str(directory / "data")),
            env=environment,
            stdout=PIPE,
            stderr=log,
        )
    try:
        yield await _endpoints(child, directory / "up.log")
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


def _tail(log: Path) -> str:
    return log.read_text()[-1000:]


async def _endpoints(child: Process, log: Path) -> dict[str, str]:
    assert child.stdout
    async with asyncio.timeout(START):
        line = await child.stdout.readline()
    if not line:
        raise Different(f"countersign up did not start: {_tail(log)}")
    found: dict[str, str] = json.loads(line)
    return found
