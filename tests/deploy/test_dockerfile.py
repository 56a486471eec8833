"""The Dockerfile against the repository: what it copies, installs, exposes and runs as."""

import importlib.metadata
import re
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from deploy.runtime_lock import closure, entries, normal, runtime_roots
from services.runtime.settings import Settings
from tests.deploy.conftest import ROOT, SERVICES

LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
LOCKED = entries((ROOT / "requirements.lock").read_text())


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in LINES if line.startswith(f"{name} ")]


def sources() -> set[str]:
    """What is copied from the repository."""
    copies = [words.split()[:-1] for words in instructions("COPY") if not words.startswith("--from")]
    return {source for words in copies for source in words}


def test_everything_it_copies_is_there_and_in_the_context() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / source).exists() for source in sources())
    assert sources() == allowed


def test_it_copies_every_package_of_the_distribution() -> None:
    included = tomllib.loads(PYPROJECT)["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in included} <= sources()


def test_nothing_secret_can_get_into_the_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(fnmatch(name, line[1:]) for line in ignored if line.startswith("!") for name in (".env", "data"))


def test_it_runs_as_a_user_of_its_own_on_a_python_we_support() -> None:
    assert instructions("USER") == ["10001:10001"]
    minimum = tomllib.loads(PYPROJECT)["project"]["requires-python"].removeprefix(">=")
    assert {image.split()[0] for image in instructions("FROM")} == {f"python:{minimum}-slim"}


def test_it_exposes_what_the_deployed_settings_listen_on(settings: Settings, compose: dict[str, Any]) -> None:
    (ports,) = instructions("EXPOSE")
    names = ["http" if name == "ingress" else name for name in SERVICES]
    assert {int(port) for port in ports.split()} == {getattr(settings.listen, name).port for name in names}


def test_its_version_is_the_distributions(compose: dict[str, Any]) -> None:
    version = tomllib.loads(PYPROJECT)["project"]["version"]
    assert {compose["services"][name]["image"] for name in SERVICES} == {f"countersign-gateway:{version}"}


def test_it_installs_from_hashes_only() -> None:
    installs = [step for run in instructions("RUN") for step in run.split(" && ") if "pip install" in step]
    assert len(installs) == 3
    assert all("--require-hashes" in step or "--no-deps --no-index" in step for step in installs)


@pytest.fixture(scope="module")
def runtime() -> set[str]:
    return closure(LOCKED, runtime_roots(PYPROJECT))


def test_the_image_has_every_dependency_of_every_dependency(runtime: set[str]) -> None:
    assert runtime_roots(PYPROJECT) <= runtime
    for name in runtime:
        for requirement in importlib.metadata.requires(name) or []:
            needed, _, marker = requirement.partition(";")
            if not marker:
                assert normal(re.split(r"[\[<>=~!( ]", needed)[0]) in runtime, f"{name} needs {needed}"


def test_the_image_has_no_tool_of_ours(runtime: set[str]) -> None:
    extras = tomllib.loads(PYPROJECT)["project"]["optional-dependencies"]
    tools = {normal(re.split(r"[\[<>=~!; ]", line)[0]) for lines in extras.values() for line in lines}
    assert not (tools & runtime)


def test_every_locked_package_has_hashes() -> None:
    assert all("--hash=sha256:" in entry for entry in LOCKED.values())
    assert len(LOCKED) > 100
