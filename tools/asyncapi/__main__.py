"""`python -m tools.asyncapi [FILE]`: write docs/asyncapi.yaml."""

import sys
import tomllib
from pathlib import Path

from tools.asyncapi.document import document, render

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "docs" / "asyncapi.yaml"


def current() -> str:
    """What the file should hold."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return render(document(version))


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    file.write_text(current(), encoding="utf-8")
