"""compose.yaml as data, and the settings that its services read."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.runtime.settings import Settings, load

ROOT = Path(__file__).parents[2]
SERVICES = ("ingress", "policy", "approver", "recorder")


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load(ROOT / "deploy/countersign.yaml")


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which `sh deploy/init.sh` ran, as in a fresh clone."""
    root = tmp_path_factory.mktemp("clone")
    (root / "deploy").mkdir()
    for name in ("init.sh", ".env.example"):
        (root / "deploy" / name).write_bytes((ROOT / "deploy" / name).read_bytes())
    subprocess.run(["sh", "deploy/init.sh"], cwd=root, check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def env_file(initialised: Path) -> dict[str, str]:
    """The variables of .env."""
    return variables((initialised / ".env").read_text())


def variables(text: str) -> dict[str, str]:
    """NAME=value lines."""
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def environment(service: dict[str, Any], env: dict[str, str]) -> dict[str, str]:
    """A compose service's environment with `${NAME:?…}` filled in from .env."""
    return {
        name: re.sub(r"\$\{(\w+)(:[?-][^}]*)?\}", lambda found: env[found[1]], value)
        for name, value in service.get("environment", {}).items()
    }
