"""The life of a service as a process: what it says, how it drains, and how it refuses to start."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import until

SETTINGS = "connectors: {}\nlisten: {policy: 127.0.0.1:0}\nlimits: {drain: 60s}\n"
Launch = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    """Start a service with these settings; ends what a failed test leaves."""
    started: list[Process] = []

    async def launch(settings: str = SETTINGS, module: str = "tests.runtime.sample_service", **env: str) -> Process:
        config = tmp_path / "countersign.yaml"
        config.write_text(settings)
        arguments = ["-m", module, "--config", str(config), "--data", str(tmp_path / "data")]
        env = {**os.environ, **env}
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE, stderr=PIPE, env=env)
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def story(tmp_path: Path) -> list[str]:
    file = tmp_path / "data" / "story"
    return file.read_text().split() if file.exists() else []


async def listening(process: Process) -> str:
    assert process.stdout
    line = json.loads(await process.stdout.readline())
    assert line["service"] == "policy"
    return f"http://{line['listening']['policy']}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_lets_work_under_way_end(launch: Launch, tmp_path: Path, number: signal.Signals) -> None:
    process = await launch()
    url = await listening(process)
    process.send_signal(number)
    await until(lambda: "draining" in story(tmp_path))
    async with aiohttp.ClientSession() as http, http.get(f"{url}/-/health/ready") as reply:
        assert (reply.status, (await reply.json())["failing"]) == (503, {"draining": "shutting down"})
    assert process.returncode is None
    (tmp_path / "data" / "finish").touch()
    assert await process.wait() == 0
    assert story(tmp_path) == ["starting", "draining", "worked", "stopped"]


async def test_a_signal_ends_a_start_that_hangs(launch: Launch, tmp_path: Path) -> None:
    process = await launch(SAMPLE="hang")
    await until(lambda: "starting" in story(tmp_path))
    process.terminate()
    assert await process.wait() == 0
    assert story(tmp_path) == ["starting"]


async def test_a_background_error_ends_the_service_and_says_so(launch: Launch, tmp_path: Path) -> None:
    process = await launch(SAMPLE="fail")
    _, stderr = await process.communicate()
    assert process.returncode == 1
    logged = [json.loads(line) for line in stderr.decode().splitlines()]
    (failed,) = (line for line in logged if line["event"] == "background task failed")
    assert failed["task"] == "policy:doomed"
    assert "this may not be ignored" in failed["exception"]
    assert story(tmp_path)[-1] == "stopped"  # it drained all the same


async def test_the_supervisor_s_environment_amends_the_listeners(launch: Launch, tmp_path: Path) -> None:
    process = await launch(SETTINGS.replace("127.0.0.1:0", "127.0.0.1:1"), COUNTERSIGN_LISTEN_POLICY="127.0.0.1:0")
    assert not (await listening(process)).endswith(":1")


@pytest.mark.parametrize("service", ["ingress", "policy", "approver", "recorder"])
async def test_wrong_settings_are_one_line_and_status_2(launch: Launch, tmp_path: Path, service: str) -> None:
    process = await launch("connectors: {}\nlimits: {drain: soon}\n", module=f"services.{service}")
    stdout, stderr = await process.communicate()
    assert (process.returncode, stdout) == (2, b"")
    assert stderr.decode() == (
        f"{tmp_path / 'countersign.yaml'}:2:17: limits.drain: write a duration such as 250ms, 30s, 15m, 1h or 7d\n"
    )


@pytest.mark.parametrize("service", ["ingress", "policy", "approver", "recorder"])
async def test_a_service_whose_bus_never_ran_says_what_to_do(launch: Launch, tmp_path: Path, service: str) -> None:
    process = await launch("connectors: {}\n", module=f"services.{service}")
    stdout, stderr = await process.communicate()
    (line,) = stderr.decode().splitlines()
    assert (process.returncode, stdout) == (2, b"")
    if service != "approver":  # which misses its signing key before
        assert line == f"nothing runs in {tmp_path / 'data'}; start `countersign up --data {tmp_path / 'data'}`, " + (
            "or set nats.servers"
        )


async def test_a_missing_secret_names_its_place_and_variable(launch: Launch) -> None:
    connector = (
        "{upstream: http://127.0.0.1:9, inject: {header: Authorization, value: 'Bearer ${env:NOT_SET_ANYWHERE}'}}"
    )
    process = await launch(f"connectors: {{vendor: {connector}}}\n", module="services.ingress")
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode() == (
        "countersign.yaml: connectors.vendor.inject.value: "
        "the environment variable NOT_SET_ANYWHERE is not set; export it and start again\n"
    )


async def test_a_taken_port_is_one_line_with_its_key_and_status_2(launch: Launch) -> None:
    first = await launch()
    port = (await listening(first)).rpartition(":")[2]
    second = await launch(SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    _, stderr = await second.communicate()
    assert second.returncode == 2  # the settings' own: `up` gives up at once
    assert stderr.decode().splitlines()[-1] == (
        f"countersign.yaml: listen.policy: 127.0.0.1:{port} is taken by another program; end it, or choose another port"
    )
