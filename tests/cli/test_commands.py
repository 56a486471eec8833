"""The commands that need nothing running: what they print, and one line with the right status when they cannot."""

import base64
import json
import socket
import stat
from pathlib import Path

import pytest

from services.runtime.identity.local import LOCAL_ISSUER, LocalKeys
from services.runtime.identity.verifier import TokenVerifier
from tests.cli.conftest import Cli

POLICY = """rules:
  - {name: agents-may-chat, when: 'action == "llm.chat" && "agents" in identity.groups', allow: true}
"""
CASES = """cases:
  - name: agents may chat
    when: {identity: {groups: [agents]}, action: llm.chat}
    expect: {decision: %s, rules: [agents-may-chat]}
"""


def refused(cli: Cli, status: int, *arguments: str, **environment: str) -> str:
    """The one line with which a command line ends in `status`."""
    ended = cli.run(*arguments, **environment)
    assert (ended.returncode, ended.stdout) == (status, ""), ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("countersign: ")
    return line.removeprefix("countersign: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["token"], "Missing option '--subject'. See `countersign token --help`."),
        (["token", "--subject", "a", "--ttl", "soon"], "--ttl: write a duration such as"),
        (["token", "--subject", "a", "--ttl", "1000d"], "ttl: more than 0 and at most 90 days"),
        (["token", "--subject", "a", "--kind", "robot"], "'robot' is not one of 'agent', 'human', 'service'"),
        (["token", "--subject", "a", "--connector", "Not A Name"], "connector"),
        (["tokn"], "No such command 'tokn'"),
        (["approvals", "approve"], "Missing argument 'ID'"),
        (["approvals", "deny", "x"], "Missing option '--reason'"),
        (["audit", "sql"], "Missing argument 'QUERY'"),
        (["policy", "apply", "policy.yaml", "--config", "none.yaml"], "none.yaml: there is no such file"),
        (["up", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_misuse_is_one_line_and_status_2(cli: Cli, arguments: list[str], words: str) -> None:
    assert words in refused(cli, 2, *arguments)


def test_a_mistake_looks_the_same_to_a_shell(cli: Cli) -> None:
    ended = cli.spawn("token")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "countersign: Missing option '--subject'. See `countersign token --help`.\n"


def test_without_arguments_it_explains_itself(cli: Cli) -> None:
    ended = cli.run()
    assert ended.returncode == 2
    for name in ("up", "token", "approvals", "audit", "sessions", "replay", "policy"):
        assert f"  {name} " in ended.stderr


@pytest.mark.parametrize(
    "command", [[], ["up"], ["token"], ["approvals", "approve"], ["audit", "sql"], ["policy", "test"]]
)
def test_help_goes_to_stdout(cli: Cli, command: list[str]) -> None:
    ended = cli.run(*command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: countersign")
    assert not command or "--data" in ended.stdout


async def test_a_token_stands_alone_and_verifies_against_the_data_directory(cli: Cli) -> None:
    ended = cli.run(
        *("token", "--subject", "ada", "--groups", "dba, agents", "--kind", "human", "--ttl", "5m"),
        *("--connector", "orders", "--email", "ada@example.com", "--owner", "grace"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    token, newline = ended.stdout[:-1], ended.stdout[-1]
    assert newline == "\n"
    identity = await TokenVerifier((), LocalKeys(cli.directory / "data/keys")).verify(token)
    assert (identity.subject, identity.issuer, identity.kind) == ("ada", LOCAL_ISSUER, "human")
    assert (identity.groups, identity.connector) == (("dba", "agents"), "orders")
    assert (identity.email, identity.owner) == ("ada@example.com", "grace")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 300
    key = cli.directory / "data/keys/local-issuer.jwk"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


async def test_tokens_of_one_directory_have_one_issuer(cli: Cli) -> None:
    verifier = TokenVerifier((), LocalKeys(cli.directory / "there/keys"))
    for subject in ("ada", "grace"):
        token = cli.run("token", "--subject", subject, "--data", "there").stdout.strip()
        assert (await verifier.verify(token)).subject == subject


def test_a_key_that_others_may_read_mints_nothing(cli: Cli) -> None:
    cli.run("token", "--subject", "ada")
    (cli.directory / "data/keys/local-issuer.jwk").chmod(0o644)
    assert "others may read this key" in refused(cli, 1, "token", "--subject", "ada")


def test_a_token_does_not_wait_for_what_up_needs(cli: Cli) -> None:
    """Its imports: no event loop's worth of services, no engine."""
    code = "import sys, countersign.__main__, countersign.token; print(*sys.modules)"
    import subprocess
    import sys

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=cli.environment
    )
    assert not {"chdb", "faststream", "nats", "uvloop", "clickhouse_connect"} & set(loaded.stdout.split())


def test_nothing_runs_here(cli: Cli) -> None:
    words = "nothing runs in data: start `countersign up --data data`, or set COUNTERSIGN_URL"
    assert refused(cli, 1, "approvals", "list", COUNTERSIGN_TOKEN="t") == words
    assert "nothing runs in data, and it holds no audit" in refused(cli, 1, "audit", "sql", "SELECT 1")
    (cli.directory / "policy.yaml").write_text(POLICY)
    assert "nothing runs in data; start" in refused(cli, 2, "policy", "apply", "policy.yaml")


def test_approvals_need_a_token_of_ones_own(cli: Cli) -> None:
    assert refused(cli, 2, "approvals", "list", COUNTERSIGN_URL="http://127.0.0.1:9").startswith(
        "COUNTERSIGN_TOKEN is not set"
    )


def test_nobody_answers(cli: Cli) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert "Connection refused" in refused(cli, 1, "approvals", "list", COUNTERSIGN_URL=url, COUNTERSIGN_TOKEN="t")
        assert "Connection refused" in refused(
            cli, 1, "audit", "sql", "SELECT 1", COUNTERSIGN_CLICKHOUSE_URL=url, COUNTERSIGN_TOKEN="t"
        )


@pytest.mark.parametrize("variable", ["COUNTERSIGN_URL", "COUNTERSIGN_CLICKHOUSE_URL"])
def test_an_address_is_http(cli: Cli, variable: str) -> None:
    command = ("approvals", "list") if variable == "COUNTERSIGN_URL" else ("audit", "sql", "SELECT 1")
    environment = {variable: "file:///etc/passwd", "COUNTERSIGN_TOKEN": "t"}
    assert f"{variable}: write an address such as https://" in refused(cli, 2, *command, **environment)


def test_policy_check_names_every_mistake_with_line_and_column(cli: Cli) -> None:
    (cli.directory / "policy.yaml").write_text(
        "rules:\n  - {name: Not A Name, when: 'true', allow: true}\n  - {name: b, when: actoin == 1, allow: true}\n"
    )
    ended = cli.run("policy", "check", "policy.yaml")
    assert (ended.returncode, ended.stdout) == (1, "")
    first, second = ended.stderr.splitlines()
    assert first.startswith("countersign: policy.yaml:2:12: ")
    assert second.startswith("countersign: policy.yaml:3:21: ")


def test_policy_check_says_what_the_version_is(cli: Cli) -> None:
    (cli.directory / "policy.yaml").write_text(POLICY)
    ended = cli.run("policy", "check", "policy.yaml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("policy.yaml: 1 rule, version ")


@pytest.mark.parametrize(("decision", "status"), [("allow", 0), ("deny", 1)])
def test_policy_test_reports_what_came_out_differently(cli: Cli, decision: str, status: int) -> None:
    (cli.directory / "policy.yaml").write_text(POLICY)
    (cli.directory / "cases.yaml").write_text(CASES % decision)
    ended = cli.run("policy", "test", "policy.yaml", "cases.yaml")
    assert (ended.returncode, ended.stderr) == (status, "")
    assert ("expected deny, got allow" in ended.stdout) == bool(status)
    assert f"{1 - status} passed, {status} failed" in ended.stdout


def test_a_stale_endpoints_file_does_not_hang_a_command(cli: Cli) -> None:
    """What a killed machine leaves behind."""
    (cli.directory / "policy.yaml").write_text(POLICY)
    data = Path(cli.directory / "data")
    data.mkdir()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (data / "endpoints.json").write_text(json.dumps({"nats": f"nats://127.0.0.1:{closed.getsockname()[1]}"}))
        assert "nats://127.0.0.1" in refused(cli, 1, "policy", "apply", "policy.yaml")
