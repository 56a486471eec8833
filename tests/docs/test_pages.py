"""What the pages show works: the README's files and commands, and every query of the auditors' page."""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from examples import sample_database
from tests.cli.conftest import REPOSITORY, Cli, Up, eventually

README = (REPOSITORY / "README.md").read_text()
AUDITORS = (REPOSITORY / "docs" / "auditors.md").read_text()
QUICKSTART = REPOSITORY / "examples" / "quickstart"
#: On any ports, and on a machine that does much else at the same time.
ANYWHERE = {
    "listen": dict.fromkeys(("http", "postgres", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0"),
    "limits": {"verdict_timeout": "20s"},
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    return [line.split("  #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Up]]:
    """The README's two files, running; only the ports, the patience and the provider differ."""
    cli = Cli(tmp_path_factory.mktemp("quickstart"))
    settings = yaml.safe_load((QUICKSTART / "countersign.yaml").read_text())
    settings |= ANYWHERE
    settings["connectors"]["openai"]["upstream"] = "http://127.0.0.1:1"
    (cli.directory / "countersign.yaml").write_text(yaml.safe_dump(settings))
    (cli.directory / "policy.yaml").write_text((QUICKSTART / "policy.yaml").read_text())
    up = cli.start("countersign", "--json", OPENAI_API_KEY="sk-your-key")
    try:
        up.wait_ready()
        yield cli, up
    finally:
        up.stop()
        assert up.process.stdout
        up.process.stdout.close()


def test_the_readme_shows_the_quick_starts_files() -> None:
    shown = blocks(README, "yaml")
    assert shown == [(QUICKSTART / name).read_text() for name in ("countersign.yaml", "policy.yaml")]


async def test_the_readmes_psql_reaches_a_database(tmp_path: Path) -> None:
    """The README's command as it stands; only the port differs."""
    psql = next(command for command in commands(README) if command.startswith("psql"))
    async with sample_database.serving() as home:
        cli = Cli(tmp_path)
        settings = yaml.safe_load((QUICKSTART / "countersign.yaml").read_text())
        settings |= ANYWHERE
        settings["connectors"]["orders"] = {
            "protocol": "postgres",
            "upstream": {"host": str(home), "database": sample_database.DATABASE},
            "credential": {"user": sample_database.ROLE, "password": sample_database.PASSWORD},
        }
        (tmp_path / "countersign.yaml").write_text(yaml.safe_dump(settings))
        rule = {
            "name": "agents-may-read",
            "when": 'action == "sql.select" && "agents" in identity.groups',
            "allow": True,
        }
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"rules": [rule]}))
        up = cli.start("countersign", "--json", OPENAI_API_KEY="sk-your-key")
        try:
            up.wait_ready()
            token = cli.run("token", "--subject", "my-agent", "--groups", "agents").stdout.strip()
            port = up.endpoints["postgres"].rpartition(":")[2]
            done = await asyncio.to_thread(
                subprocess.run,
                [*("bash", "-c", psql.replace("port=6432", f"port={port}"))],
                input="SELECT name FROM customers ORDER BY id;",
                env=cli.environment | {"COUNTERSIGN_AGENT_TOKEN": token, "PATH": path(sample_database.programs())},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert "Ada Byron" in done.stdout, done.stderr
        finally:
            up.stop()
            assert up.process.stdout
            up.process.stdout.close()


def test_the_readmes_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    shown = {found for command in commands(README) if (found := re.search(r"make (\w+)", command))}
    assert {found[1] for found in shown} <= set(targets)
    assert {"make demo", "make test"} <= set(commands(README))


def test_make_up_without_a_key_says_what_to_do() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    config = str(QUICKSTART / "countersign.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "countersign", "up", "--config", config],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 2
    assert "not set in the environment: OPENAI_API_KEY; export" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_readmes_agent_is_judged_and_recorded(quickstart: tuple[Cli, Up]) -> None:
    cli, up = quickstart
    minted = next(command for command in commands(README) if "countersign token" in command)
    arguments = re.search(r"countersign (token [^)]*)\)", minted)
    assert arguments
    token = cli.run(*arguments[1].split()).stdout.strip()
    request = urllib.request.Request(
        f"{up.endpoints['http']}/openai/v1/chat/completions",
        data=json.dumps({"model": "gpt-4o-mini", "messages": []}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as reply:
        assert (reply.status, json.loads(reply.read())["error"]["code"]) == (502, "upstream_refused")
    audit = next(command for command in commands(README) if "countersign audit sql" in command)
    query = re.search(r'"(SELECT [^"]*)"', audit)
    assert query
    recorded = eventually(lambda: _failed(cli, query[1]))
    row = json.loads(recorded.splitlines()[-1])
    assert (row["subject"], row["action"], row["decision"], row["outcome"]) == (
        "my-agent",
        "llm.chat",
        "allow",
        "failed",
    )


def _failed(cli: Cli, query: str) -> str:
    """What the query prints, once it tells of an operation that failed."""
    shown = cli.run("audit", "sql", query, "--format", "JSONEachRow").stdout
    return shown if "failed" in shown else ""


@pytest.mark.parametrize("command", ["sessions list", "audit verify"])
def test_the_readmes_other_commands_run(quickstart: tuple[Cli, Up], command: str) -> None:
    assert f"countersign {command}" in commands(README)
    done = quickstart[0].run(*command.split())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("query", blocks(AUDITORS, "sql"))
def test_an_auditors_query_runs(quickstart: tuple[Cli, Up], query: str) -> None:
    done = quickstart[0].run("audit", "sql", query)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_auditors_commands_run(quickstart: tuple[Cli, Up]) -> None:
    cli, up = quickstart
    for command in commands(AUDITORS):
        done = subprocess.run(
            command,
            shell=True,
            cwd=cli.directory,
            env=cli.environment | {"CLICKHOUSE": up.endpoints["clickhouse"], "PATH": path()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().isdigit()


def test_the_auditors_page_names_every_column(quickstart: tuple[Cli, Up]) -> None:
    cli, _ = quickstart
    for view, columns in re.findall(r"^\| `(\w+)` \|[^|]*\| ([\w, …]+) \|$", AUDITORS, re.MULTILINE):
        described = cli.run("audit", "sql", f"DESCRIBE {view}", "--format", "JSONEachRow").stdout
        real = [json.loads(line)["name"] for line in described.splitlines()]
        named = [column.strip() for column in columns.split(",") if "…" not in column]
        assert set(named) <= set(real)
        if "…" not in columns:
            assert named == real


def path(*before: Path) -> str:
    return os.pathsep.join([*map(str, before), str(Path(sys.executable).parent), os.environ["PATH"]])
