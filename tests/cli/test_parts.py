"""The supervisor's parts, with real small processes where there is a process."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

import pytest

from countersign import endpoints, environment
from countersign.errors import CommandError, Misuse
from countersign.guardian import Guardian, guard
from countersign.output import LONGEST_LINE, Output
from countersign.reviewing import printable, short
from countersign.supervisor import CRASHES, FIRST_DELAY, LONGEST_DELAY, Child, ChildFailed, describe, end
from countersign.watch import BusAway, keep_applied, seen
from services.runtime.settings import Settings
from services.runtime.tasks import TaskGroup
from tests.conftest import until

SETTINGS = Settings.model_validate(
    {
        "connectors": {
            "model": {"upstream": "https://a", "inject": {"header": "A", "value": "${env:ONE}-${env:TWO}"}},
            "vendor": {"upstream": "https://b", "inject": {"user": "${env:THREE}", "password": "${file:/p}"}},
        },
        "approvals": {"slack": {"channel": "#c", "bot_token": "${env:FOUR}", "app_token": "${env:FIVE}"}},
        "audit": {"dsn": "clickhouse://u:${env:SIX}@h:8123/d"},
    }
)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("ingress", {"ONE": "1", "TWO": "2", "THREE": "3"}),
        ("policy", {}),
        ("approver", {"FOUR": "4"}),  # FIVE is not set: the approver will say so itself
        ("recorder", {"SIX": "6"}),
    ],
)
def test_secrets_go_to_the_service_whose_section_names_them(service: str, expected: Mapping[str, str]) -> None:
    ours = {"ONE": "1", "TWO": "2", "THREE": "3", "FOUR": "4", "SIX": "6", "SEVEN": "7"}
    assert environment.secrets(service, SETTINGS, ours) == expected


def test_proxies_are_for_those_who_dial_out() -> None:
    ours = {"PATH": "/bin", "LC_ALL": "C", "https_proxy": "http://user:word@proxy", "AWS_SECRET_ACCESS_KEY": "k"}
    assert environment.basics("policy", ours) == {"PATH": "/bin", "LC_ALL": "C"}
    assert environment.basics("ingress", ours) == {name: ours[name] for name in ("PATH", "LC_ALL", "https_proxy")}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]:8080", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_where_this_machine_reaches_it(address: str, expected: str) -> None:
    assert endpoints.url(address) == expected


def test_only_the_agents_front_is_https() -> None:
    tls = SETTINGS.model_copy(update={"listen": SETTINGS.listen.model_copy(update={"tls": "auto"})})
    found = endpoints.of({"policy": "127.0.0.1:2", "http": "127.0.0.1:1"}, tls, "nats://127.0.0.1:3")
    assert found == {"http": "https://127.0.0.1:1", "policy": "http://127.0.0.1:2", "nats": "nats://127.0.0.1:3"}
    assert list(found) == ["http", "policy", "nats"]


async def python(code: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code)


async def test_a_crash_loop_is_given_up_with_the_last_words() -> None:
    starts: list[int] = []

    async def launch() -> Process:
        starts.append(1)
        return await python("raise SystemExit(3)")

    child = Child("policy", launch, lambda: "so it goes")
    with pytest.raises(CommandError, match="policy ended 5 times within 60 s; its last line: so it goes"):
        await child.keep()
    assert len(starts) == CRASHES


async def test_what_cannot_be_used_at_the_first_start_is_misuse() -> None:
    async def launch() -> Process:
        raise ChildFailed(2, "countersign.yaml: OPENAI_API_KEY is not set")

    with pytest.raises(Misuse, match="OPENAI_API_KEY is not set"):
        await Child("ingress", launch).keep()


def test_restarts_become_slower_up_to_a_bound() -> None:
    child = Child("policy", lambda: python(""))
    delays = []
    for _ in range(CRASHES):
        child._ends.append(time.monotonic())
        delays.append(child.delay())
    assert delays == [min(LONGEST_DELAY, FIRST_DELAY * 2**n) for n in range(CRASHES)]


async def test_a_child_that_ignores_sigterm_is_killed() -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-S",
            "-c",
            "import signal, sys; signal.signal(15, signal.SIG_IGN); print(1, flush=True); sys.stdin.read()",
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    await process.stdout.readline()
    await end(process, patience=0.2)
    assert process.returncode == -9
    assert describe(process.returncode) == "SIGKILL"


async def test_the_guardian_ends_what_was_not_released() -> None:
    sleeping = "import sys; sys.stdin.read()"
    kept, released = [
        await asyncio.create_subprocess_exec(*(sys.executable, "-S", "-c", sleeping), stdin=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    guardian = Guardian()
    guardian.watch(kept.pid, 1)
    guardian.watch(released.pid, 1)
    guardian.release(released.pid)
    guardian.close()
    assert await kept.wait() == -15
    assert released.returncode is None
    await end(released, patience=5)


async def test_the_guardian_ends_higher_stages_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[list[int]] = []
    monkeypatch.setattr("countersign.guardian._end", ended.append)
    guard(["watch 10 0\n", "watch 11 3\n", "watch 12 1\n", "watch 13 3\n", "release 12\n"])
    assert ended == [[11, 13], [10]]


async def pumped(content: bytes) -> Output:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    output = Output()
    await output.pump(reader)
    return output


@pytest.mark.parametrize(
    ("content", "last"),
    [
        (b"", ""),
        (b"one\ntwo\n\n", "two"),
        (b"one\nno newline", "no newline"),
        (b"\x1b[31mred\x1b[0m\n", "red"),
        (b"\xff\n", "\ufffd"),
    ],
)
async def test_the_last_line_is_remembered(
    content: bytes, last: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert (await pumped(content)).last == last
    assert capfdbinary.readouterr().err.rstrip(b"\n") == content.rstrip(b"\n")


async def test_output_without_a_line_break_is_passed_on_in_pieces(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    content = b"x" * (3 * LONGEST_LINE)
    assert len((await pumped(content)).last) == 500
    assert capfdbinary.readouterr().err.rstrip(b"\n") == content


async def test_a_policy_is_tried_again_while_the_bus_is_away(tmp_path: Path) -> None:
    file, tries = tmp_path / "policy.yaml", []
    file.write_text("old")
    before = seen(file)
    file.write_text("changed")

    async def apply(_: Path) -> str:
        tries.append(file.read_text())
        if len(tries) < 2:
            raise BusAway("away")
        return "v2"

    tasks = TaskGroup("test")
    tasks.start(keep_applied(file, apply, before), "watch")
    await until(lambda: tries == ["changed", "changed"])
    await tasks.cancel()


def test_what_an_agent_wrote_cannot_steer_a_reviewers_terminal() -> None:
    assert "\x1b" not in printable("\x1b]0;all is well\x07 rm -rf")
    assert "\u202e" not in printable("\u202egnp.exe")
    assert printable("a\nb", keep_lines=True) == "a\nb"
    assert printable("a\nb") == "a b"


def test_a_long_statement_shows_its_head_and_its_tail() -> None:
    shown = short("SELECT 1; " + "x" * 500 + " DROP TABLE users")
    assert shown.startswith("SELECT 1;")
    assert shown.endswith("DROP TABLE users")
    assert len(shown) <= 60


def test_our_own_process_is_not_in_the_way() -> None:
    """`watch` of a number that is nobody's harms nobody."""
    guard([f"watch {2**22 + os.getpid()} 1\n"])
