"""The command in a directory of its own, with nothing of our environment that could matter."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from countersign.__main__ import main

REPOSITORY = Path(__file__).parents[2]

SETTINGS = """
listen: {http: 127.0.0.1:0, clickhouse: 127.0.0.1:0, policy: 127.0.0.1:0, approver: 127.0.0.1:0, recorder: 127.0.0.1:0}
limits: {verdict_timeout: 20s}
connectors:
  openai: {upstream: "https://api.invalid", inject: {header: Authorization, value: "Bearer ${env:MODEL_KEY}"}}
approvals:
  slack: {channel: "#approvals", bot_token: "${env:SLACK_BOT}", signing_secret: "${env:SLACK_SIGNING}"}
"""
POLICY = "rules:\n  - {name: agents-may-chat, when: action == 'llm.chat', allow: true}\n"

SECRETS = {"MODEL_KEY": "k1", "SLACK_BOT": "k2", "SLACK_SIGNING": "k3", "UNRELATED_SECRET": "k4"}


@dataclass
class Up:
    """A running `countersign up --json`."""

    root: Path
    process: subprocess.Popen[str]
    log: Path
    endpoints: dict[str, str] = field(default_factory=dict)

    def wait_ready(self) -> dict[str, str]:
        """Its one line on stdout; when it ended instead, what it logged."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.endpoints = json.loads(line)
        return self.endpoints

    def child(self, name: str) -> psutil.Process:
        """The process of a service, or of NATS."""
        for child in psutil.Process(self.process.pid).children():
            words = child.cmdline()
            if name in words or f"services.{name}" in words or (name == "nats" and "nats-server" in words[0]):
                return child
        raise LookupError(name)

    def alive(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self.process.wait(120)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class Cli:
    """Runs `countersign …` in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("COUNTERSIGN_URL", "COUNTERSIGN_TOKEN")
        } | {"PYTHONPATH": str(REPOSITORY)}

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        """Run a command to its end, in this process: the same `main`, without the wait for another interpreter."""
        out, err = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with ExitStack() as stack:
            stack.enter_context(chdir(self.directory))
            stack.enter_context(mock.patch.dict(os.environ, self.environment | environment, clear=True))
            stack.enter_context(mock.patch.multiple(sys, argv=["countersign", *arguments], stdin=StringIO(stdin)))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            exited = stack.enter_context(pytest.raises(SystemExit))
            main()
        assert isinstance(exited.value.code, int)
        return Ended(exited.value.code, _text(out), _text(err))

    def spawn(self, *arguments: str) -> Ended:
        """Run a command to its end, as its users do."""
        ended = subprocess.run(
            [sys.executable, "-m", "countersign", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, module: str, *arguments: str, **environment: str) -> Up:
        """Start `up` in the background."""
        log = self.directory / "up.log"
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "up", *arguments],
                cwd=self.directory,
                env=self.environment | environment,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        return Up(self.directory / "data", process, log)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command, in an empty directory."""
    return Cli(tmp_path)


@pytest.fixture
def start_up(cli: Cli) -> Iterator[Callable[..., Up]]:
    """Starts `up` with stand-ins for the services, and ends what a failed test left running."""
    with standins(cli) as start:
        yield start


@contextmanager
def standins(cli: Cli) -> Iterator[Callable[..., Up]]:
    """What `start_up` is, in a directory of one's own."""
    (cli.directory / "countersign.yaml").write_text(SETTINGS)
    (cli.directory / "policy.yaml").write_text(POLICY)
    started: list[Up] = []

    def start(*arguments: str, json: bool = True, module: str = "tests.cli.up_standins", **environment: str) -> Up:
        up = cli.start(module, *(["--json"] if json else []), *arguments, **(SECRETS | environment))
        started.append(up)
        return up

    try:
        yield start
    finally:
        for up in started:
            _end(up)


def eventually(condition: Callable[[], Any]) -> Any:
    """`until` for tests without a loop: what `condition` returns, once that is something."""
    deadline = time.monotonic() + 90
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return result


def _text(stream: TextIOWrapper) -> str:
    """What was written; a column of the record may hold bytes that are no text."""
    return stream.buffer.getvalue().decode(errors="replace")  # type: ignore[attr-defined]


def _end(up: Up) -> None:
    if up.process.poll() is None:
        below = up.alive()
        up.process.kill()
        for process in below:
            _kill(process)
    up.process.wait(60)
    if up.process.stdout:
        up.process.stdout.close()


def _kill(process: Any) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
