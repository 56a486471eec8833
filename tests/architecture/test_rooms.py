"""The rules of the rooms that import-linter cannot say (its contracts are in pyproject.toml)."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("schemas", "services", "countersign", "tools")
CODE = (*PRODUCT, "bench", "examples")
#: A module aims at 200 lines; from here on it has to say why it is one idea.
LARGE, LARGEST = 350, 500
#: Those that have said so.
GROWN: dict[str, str] = {}
#: Where the tests of a package are, if not in the directory of its name.
TESTED_IN = {"schemas": "contracts", "tools": "contracts", "countersign": "cli"}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def modules(*places: str) -> list[Path]:
    return sorted(file for place in places for file in (ROOT / place).rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the last name of what is called: `asyncio.create_task(…)` is `create_task`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute | ast.Name):
                yield (called.attr if isinstance(called, ast.Attribute) else called.id), node


def users(wanted: set[str], *places: str) -> set[str]:
    """Modules that mention one of these names."""
    return {name(file) for file in modules(*places) if wanted & set(mentioned(file))}


def mentioned(file: Path) -> Iterator[str]:
    for node in ast.walk(tree(file)):
        match node:
            case ast.Name(id=found) | ast.Attribute(attr=found):
                yield found


def subscribers() -> Iterator[tuple[Path, ast.Call, set[str | None]]]:
    """Each `broker.subscriber(…)` of a service, with the names of its keywords."""
    for file in modules("services"):
        for called, call in calls(file):
            if called == "subscriber" and isinstance(call.func, ast.Attribute):
                yield file, call, {keyword.arg for keyword in call.keywords}


def test_background_tasks_are_started_in_one_place() -> None:
    assert {name(file) for file in modules(*PRODUCT) for called, _ in calls(file) if called == "create_task"} == {
        "services/runtime/tasks.py"
    }
    # A service races its start against a signal before anything of it exists; both are awaited there.
    assert users({"ensure_future"}, *PRODUCT) <= {"services/runtime/service.py"}


@pytest.mark.parametrize("file", modules(*CODE, "tests"), ids=name)
def test_a_module_says_what_it_does(file: Path) -> None:
    if file.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree(file)), "no docstring"


def test_modules_stay_small() -> None:
    lengths = {name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in modules(*CODE)}
    assert {module: lines for module, lines in lengths.items() if lines > LARGEST} == {}
    assert {module: lines for module, lines in lengths.items() if lines > LARGE and module not in GROWN} == {}
    assert {module for module in GROWN if lengths.get(module, 0) <= LARGE} == set(), "small again: take it off the list"


def test_every_subscriber_names_its_ack_policy() -> None:
    """Left out, FastStream's default would decide what becomes of a message that could not be used."""
    assert [f"{name(file)}:{call.lineno}" for file, call, named in subscribers() if "ack_policy" not in named] == []
    durable = [call for file in modules("services") for called, call in calls(file) if called == "heard"]
    assert len(list(subscribers())) >= 3
    assert len(durable) >= 5, "the approver's, all by services/approver/delivery.heard"


def test_no_subscriber_of_events_replies() -> None:
    """FastStream would answer the reply subject of an event, which is its publisher's JetStream ack."""
    replying = {name(file) for file, _, named in subscribers() if "no_reply" not in named}
    assert replying == {"services/approver/on_query.py"}  # request and reply: no event


def test_only_upstream_dials_out_and_reveals_credentials() -> None:
    dialling = {"ClientSession", "TCPConnector", "open_connection", "create_connection", "ws_connect", "urlopen"}
    dialling |= {"open_unix_connection", "create_unix_connection", "sock_connect"}
    dialled, revealed = users(dialling, "services/ingress"), users({"reveal"}, "services/ingress")
    assert dialled
    assert revealed
    assert {module for module in dialled | revealed if not module.startswith("services/ingress/upstream/")} == set()


def test_only_the_gate_asks_for_verdicts_and_hears_them() -> None:
    assert users({"verdicts_of", "VERDICTS"}, "services/ingress") == {"services/ingress/gate.py"}
    assert users({"_on_message"}, "services/ingress") == {"services/ingress/gate.py"}
    publishing = {
        name(file) for file in modules("services/ingress") for called, _ in calls(file) if called == "publish"
    }
    assert publishing == {"services/ingress/emit.py", "services/ingress/gate.py"}


def pure_modules() -> list[Path]:
    """Those of the import-linter contract, packages with all that is in them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["name"].startswith("Codecs"))
    places = [ROOT / source.replace(".", "/") for source in contract["source_modules"]]
    return [
        file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    ]


@pytest.mark.parametrize("file", pure_modules(), ids=name)
def test_a_pure_module_has_no_clock_and_does_not_wait(file: Path) -> None:
    assert not [node for node in ast.walk(tree(file)) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert {called for called, _ in calls(file)} & {"utc_now", "now", "utcnow", "today"} == set()


def test_every_package_has_its_tests() -> None:
    packages = [ROOT / "schemas", ROOT / "countersign", ROOT / "tools", *(ROOT / "services").iterdir()]
    for package in packages:
        if (package / "__init__.py").exists():
            tests = ROOT / "tests" / TESTED_IN.get(package.name, package.name)
            assert list(tests.glob("test_*.py")), f"{package.name}: nothing in {tests.relative_to(ROOT)}"
