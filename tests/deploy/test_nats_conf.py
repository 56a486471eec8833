"""deploy/nats.conf: generated, accepted by the real server, and enough to provision and to run a service on."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from services.runtime.nats.config import deployed
from services.runtime.nats.permissions import inbox
from services.runtime.nats.provision import buckets, streams
from services.runtime.nats.server import binary
from services.runtime.settings import Settings
from tests.conftest import until
from tests.deploy.conftest import ROOT, environment
from tests.ports import free_port

CONF = ROOT / "deploy/nats.conf"


def test_it_is_what_the_code_generates() -> None:
    assert CONF.read_text() == deployed(), "run python -m services.runtime.nats.config > deploy/nats.conf"


async def test_the_server_accepts_it(compose: dict[str, Any], env_file: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(binary(), "-t", "-c", str(CONF)),
        env=environment(compose["services"]["nats"], env_file),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


def test_compose_starts_the_server_with_it(compose: dict[str, Any]) -> None:
    server = compose["services"]["nats"]
    (config,) = server["configs"]
    assert server["command"] == ["-c", config["target"]]
    assert compose["configs"][config["source"]]["file"] == "deploy/nats.conf"
    store = re.search(r'store_dir: "([^"]+)"', CONF.read_text())
    assert store
    assert any(volume.endswith(f":{store[1]}") for volume in server["volumes"])
    monitor = re.search(r'http: "0.0.0.0:(\d+)"', CONF.read_text())
    assert monitor
    assert f"http://127.0.0.1:{monitor[1]}/healthz" in server["healthcheck"]["test"]


@pytest.fixture
async def deployed_nats(compose: dict[str, Any], env_file: dict[str, str], tmp_path: Path) -> AsyncIterator[str]:
    """The server as compose runs it, but for ports and directory."""
    port = free_port()
    text = CONF.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("0.0.0.0:8222", "127.0.0.1:0")
    (tmp_path / "nats.conf").write_text(text.replace('"/data"', f'"{tmp_path}/jetstream"'))
    process = await asyncio.create_subprocess_exec(
        *(binary(), "-c", str(tmp_path / "nats.conf"), "-l", str(tmp_path / "nats.log")),
        env=environment(compose["services"]["nats"], env_file),
    )
    await until(lambda: _listens(port))
    yield f"nats://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_setup_provisions_and_applies_and_may_be_repeated(
    compose: dict[str, Any], settings: Settings, env_file: dict[str, str], deployed_nats: str, tmp_path: Path
) -> None:
    setup = compose["services"]["setup"]
    (tmp_path / "countersign.yaml").write_text(
        (ROOT / "deploy/countersign.yaml").read_text().replace("nats://nats:4222", deployed_nats)
    )
    shell, flags, script = setup["command"]
    assert (shell, flags) == ("sh", "-ec")
    for target, file in {
        "/etc/countersign/countersign.yaml": tmp_path / "countersign.yaml",
        "/etc/countersign/policy.yaml": ROOT / "deploy/policy.yaml",
        " /data": f" {tmp_path}/data",
    }.items():
        assert target in script
        script = script.replace(target, str(file))
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(shell, flags, script),
            env=environment(setup, env_file) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert b"in force, version" in out
    admin = await _connect("admin", deployed_nats, env_file)
    jetstream = admin.jetstream()
    for stream in streams(settings.nats):
        assert (await jetstream.stream_info(str(stream.name))).config.subjects == stream.subjects
    for bucket in buckets(settings.nats):
        assert await jetstream.key_value(bucket.bucket)
    await admin.close()


async def test_a_service_may_not_do_what_another_may(deployed_nats: str, env_file: dict[str, str]) -> None:
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    ingress = await _connect("ingress", deployed_nats, env_file, error_cb=note)
    await ingress.publish("cs.verdict.someone.something", b"{}")
    await ingress.flush()
    await until(lambda: any("permissions violation" in error.lower() for error in errors))
    await ingress.close()


async def _connect(role: Any, url: str, env: dict[str, str], **more: Any) -> Client:
    return await nats.connect(
        url, user=role, password=env[f"NATS_{role.upper()}_PASSWORD"], inbox_prefix=inbox(role), **more
    )
