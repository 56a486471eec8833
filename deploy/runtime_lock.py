"""Prints the part of requirements.lock that an image needs: what pyproject.toml's dependencies pull in, hashes and all.

`python deploy/runtime_lock.py` for what runs; `python deploy/runtime_lock.py setuptools` for single packages. The lock
holds the extras for tests and the demo too; which package is there for which is in its `# via` comments. Standard
library only: it runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_NAME = re.compile(r"^([A-Za-z0-9._-]+)==")
_VIA = re.compile(r"^\s+#\s+(?:via\s+)?([A-Za-z0-9._-]+)")


def normal(name: str) -> str:
    """A distribution's name as the packaging specification normalises it (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, str]:
    """The lock's entries by name: the requirement, its hashes and its comments."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if start := _NAME.match(line):
            name = normal(start[1])
        if name and not line.startswith("#") and line.strip():
            found[name] = found.get(name, "") + line
    return found


def wanted_by(entry: str) -> set[str]:
    """Who asked for this entry, by its `# via` comment."""
    return {normal(found[1]) for line in entry.splitlines() if (found := _VIA.match(line)) and found[1] != "via"}


def closure(locked: dict[str, str], roots: set[str]) -> set[str]:
    """The roots and everything that was locked because of them."""
    found = roots & locked.keys()
    while more := {name for name, entry in locked.items() if name not in found and wanted_by(entry) & found}:
        found |= more
    return found


def runtime_roots(pyproject: str) -> set[str]:
    """Names of the distribution's own dependencies."""
    return {normal(re.split(r"[\[<>=~!; ]", line)[0]) for line in tomllib.loads(pyproject)["project"]["dependencies"]}


def main(names: list[str]) -> None:
    """Print the entries, in the lock's order."""
    locked = entries((ROOT / "requirements.lock").read_text())
    wanted = set(map(normal, names)) or closure(locked, runtime_roots((ROOT / "pyproject.toml").read_text()))
    if missing := wanted - locked.keys():
        sys.exit(f"requirements.lock does not have {', '.join(sorted(missing))}; run make lock")
    sys.stdout.writelines(entry for name, entry in locked.items() if name in wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
