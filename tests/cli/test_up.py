"""`countersign up`: real NATS, real supervisor, real command line; small real services in the places of the four."""

import json
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.cli.conftest import SECRETS, Cli, Up, standins
from tests.conftest import until

SERVICES = ("ingress", "policy", "approver", "recorder")

StartUp = Callable[..., Up]


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/health/ready", timeout=30) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def pids(up: Up) -> dict[str, int]:
    return {name: up.child(name).pid for name in (*SERVICES, "nats")}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One instance for the tests that leave it running."""
    with standins(Cli(tmp_path_factory.mktemp("up"))) as start:
        up = start()
        up.wait_ready()
        yield up


async def test_it_says_where_everything_listens_once_everything_answers(shared: Up) -> None:
    up, endpoints = shared, shared.endpoints
    assert list(endpoints) == ["http", "policy", "approver", "recorder", "nats"]
    assert json.loads((up.root / "endpoints.json").read_text()) == endpoints
    assert all(ready(endpoints[name]) for name in ("http", "policy", "approver", "recorder"))
    assert endpoints["nats"].startswith("nats://127.0.0.1:")


async def test_sigterm_ends_everything_in_order_and_removes_the_endpoints(start_up: StartUp) -> None:
    up = start_up()
    up.wait_ready()
    below = up.alive()
    assert up.stop() == 0
    assert not any(process.is_running() for process in below)
    assert not (up.root / "endpoints.json").exists()
    drained = [json.loads(line)["service"] for line in up.log.read_text().splitlines() if '"event": "draining"' in line]
    assert drained[0] == "ingress"
    assert set(drained[1:3]) == {"policy", "approver"}
    assert drained[3] == "recorder"


async def test_a_person_sees_the_next_steps_and_may_close_the_terminal(start_up: StartUp, cli: Cli) -> None:
    with (cli.directory / "policy.yaml").open("a") as policy:
        policy.write("  - {name: people-decide, when: action == 'http.post', approve: {by: [dba, platform]}}\n")
    up = start_up(json=False)
    assert up.process.stdout
    text = ""
    for line in up.process.stdout:
        text += line
        if "approvals list" in line:
            break
    assert "Countersign is ready." in text
    assert "OPENAI_BASE_URL=http://127.0.0.1:" in text
    assert "countersign token --subject my-agent" in text
    assert "--kind human --groups dba,platform" in text  # who may decide by the policy in force
    assert "countersign approvals list" in text
    up.process.send_signal(signal.SIGHUP)  # the terminal is closed
    assert up.process.wait(120) == 0


async def test_each_service_sees_its_own_secrets_and_nobody_elses(shared: Up) -> None:
    up = shared
    seen = {name: set((up.root / f"{name}.env").read_text().split()) for name in SERVICES}
    for names in seen.values():
        assert {"COUNTERSIGN_NATS", "COUNTERSIGN_NATS_PASSWORD", "PATH"} <= names
    assert {name: sorted(names & SECRETS.keys()) for name, names in seen.items()} == {
        "ingress": ["MODEL_KEY"],
        "policy": [],
        "approver": ["SLACK_BOT", "SLACK_SIGNING"],
        "recorder": [],
    }


async def test_each_service_has_its_own_nats_user(shared: Up) -> None:
    up = shared
    passwords = {up.child(name).environ()["COUNTERSIGN_NATS_PASSWORD"] for name in SERVICES}
    assert len(passwords) == len(SERVICES)


@pytest.mark.parametrize("name", [*SERVICES, "nats"])
async def test_what_is_killed_comes_back_where_it_was(shared: Up, name: str) -> None:
    up, before = shared, shared.endpoints
    old = pids(up)
    up.child(name).kill()
    await until(lambda: _replaced(up, name, old[name]))
    front = "http" if name == "ingress" else name
    await until(lambda: _listens(before["nats"]) if name == "nats" else ready(before[front]))
    after = pids(up)
    assert {other for other in after if after[other] != old[other]} == {name}
    assert json.loads((up.root / "endpoints.json").read_text()) == before


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("nats://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=30).close()
    except OSError:
        return False
    return True


def _replaced(up: Up, name: str, old: int) -> bool:
    try:
        return up.child(name).pid != old
    except (LookupError, psutil.NoSuchProcess):
        return False


async def test_a_crash_loop_ends_up_and_names_the_service_and_its_last_words(start_up: StartUp) -> None:
    up = start_up()
    up.wait_ready()
    below = up.alive()
    (up.root / "approver.does").write_text("crash")
    up.child("approver").kill()
    assert up.process.wait(120) == 1
    assert up.log.read_text().splitlines()[-1] == (
        "countersign: approver ended 5 times within 600 s; its last line: approver: the tea is cold"
    )
    assert not any(process.is_running() for process in below)
    assert "Traceback" not in up.log.read_text()


async def test_wrong_settings_of_a_service_end_up_at_once(start_up: StartUp, cli: Cli) -> None:
    (cli.directory / "data").mkdir()
    (cli.directory / "data" / "ingress.does").write_text("misuse")
    up = start_up()
    assert up.process.wait(120) == 2
    assert up.log.read_text().splitlines()[-1].endswith("OPENAI_API_KEY is not set")


async def test_no_child_survives_a_supervisor_that_was_killed_and_it_can_start_again(start_up: StartUp) -> None:
    up = start_up()
    up.wait_ready()
    below = up.alive()
    assert len(below) >= len(SERVICES) + 2  # NATS and the guardian
    up.process.kill()
    up.process.wait()
    again = start_up()  # waits for the guardian, which has the lock
    assert again.wait_ready()["http"].startswith("http://")
    assert not any(_runs(process) for process in below)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_one_instance_per_data_directory(shared: Up) -> None:
    up = shared
    second = Cli(up.root.parent).start("tests.cli.up_standins", **SECRETS)
    assert second.process.wait(120) == 1
    assert f"another `countersign up` runs here (process {up.process.pid})" in up.log.read_text()
    assert second.process.stdout
    second.process.stdout.close()
    assert up.process.poll() is None
    assert (up.root / "endpoints.json").exists()


async def test_a_second_interrupt_kills_what_does_not_stop(start_up: StartUp) -> None:
    up = start_up()
    up.wait_ready()
    up.child("recorder").suspend()  # it will hear no SIGTERM
    up.interrupt()
    await until(lambda: '"event": "draining", "level": "info"' in up.log.read_text(), 60)
    await until(lambda: _only(up, "recorder"), 60)
    up.interrupt()
    assert up.process.wait(120) == 0


def _only(up: Up, name: str) -> bool:
    """Of the services, only this one is left."""
    left = [other for other in SERVICES if _replaced(up, other, 0)]
    return left == [name]


async def test_a_changed_policy_is_applied_and_a_wrong_one_is_refused(shared: Up) -> None:
    up = shared
    file = up.root.parent / "policy.yaml"
    file.write_text("rules:\n  - {name: Not A Name, when: 'true', allow: true}\n")
    await until(lambda: "policy refused" in up.log.read_text())
    await until(lambda: "policy.yaml:2:12: " in up.log.read_text())
    file.write_text("rules: []\n")
    await until(lambda: "policy applied" in up.log.read_text())


@pytest.mark.parametrize(
    ("policy", "words"),
    [(None, "policy.yaml: there is no such file"), ("rules: {", "policy.yaml:")],
)
async def test_without_a_policy_it_does_not_start(start_up: StartUp, cli: Cli, policy: str | None, words: str) -> None:
    file = cli.directory / "policy.yaml"
    file.unlink() if policy is None else file.write_text(policy)
    up = start_up()
    assert up.process.wait(120) != 0
    assert words in up.log.read_text().splitlines()[-1]
    assert not (up.root / "endpoints.json").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "countersign.yaml: there is no such file"),
        ("connectors: {}\nlisten: {htp: 1}", "countersign.yaml:2:10: listen.htp: unknown key"),
        ("connectors: {}\nnats: {servers: [nats://n1:4222]}", "nats.servers names a deployed NATS"),
    ],
)
async def test_wrong_settings_are_one_line_and_status_2(cli: Cli, settings: str | None, words: str) -> None:
    if settings is not None:
        (cli.directory / "countersign.yaml").write_text(settings)
    ended = cli.run("up")
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("countersign: ")
    assert words in line
    assert not any(cli.directory.glob("data"))


async def test_sigterm_while_it_starts_leaves_nothing_behind(start_up: StartUp) -> None:
    up = start_up()
    await until(lambda: (up.root / "nats/nats.log").exists())
    below = up.alive()
    assert up.stop() == 0
    assert below
    assert not any(_runs(process) for process in below)
    assert up.process.stdout
    assert up.process.stdout.read() == ""
