"""`countersign up` with the four real services, and the commands against it."""

import base64
import json
import re
import urllib.request
from collections.abc import Callable, Iterator

import clickhouse_connect
import pytest

from tests.cli.conftest import POLICY, SECRETS, SETTINGS, Cli, Up

REAL_SETTINGS = SETTINGS.partition("approvals:")[0]  # no Slack: the command decides


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Up]]:
    """One instance for the whole file."""
    cli = Cli(tmp_path_factory.mktemp("real"))
    (cli.directory / "countersign.yaml").write_text(REAL_SETTINGS)
    (cli.directory / "policy.yaml").write_text(POLICY)
    up = cli.start("countersign", "--json", **SECRETS)
    try:
        up.wait_ready()
        yield cli, up
    finally:
        status = up.stop()
        assert up.process.stdout
        up.process.stdout.close()
    assert status == 0, up.log.read_text()


def reviewer(cli: Cli) -> dict[str, str]:
    token = cli.run("token", "--subject", "ada", "--kind", "human", "--groups", "reviewers").stdout.strip()
    return {"COUNTERSIGN_TOKEN": token}


def test_endpoints_have_the_names_under_listen(real: tuple[Cli, Up]) -> None:
    _, up = real
    assert list(up.endpoints) == ["http", "clickhouse", "policy", "approver", "recorder", "nats"]
    assert all(re.fullmatch(r"(http|nats)://127\.0\.0\.1:\d+", address) for address in up.endpoints.values())


def test_every_service_is_ready_and_has_metrics(real: tuple[Cli, Up]) -> None:
    _, up = real
    for name in ("http", "policy", "approver", "recorder"):
        for page in ("health/live", "health/ready", "metrics"):
            with urllib.request.urlopen(f"{up.endpoints[name]}/-/{page}", timeout=60) as reply:
                assert reply.status == 200


def test_approvals_of_a_reviewer(real: tuple[Cli, Up]) -> None:
    cli, _ = real
    listed = cli.run("approvals", "list", "--json", **reviewer(cli))
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert cli.run("approvals", "list", **reviewer(cli)).stdout == "Nothing waits for you.\n"
    missing = cli.run("approvals", "approve", "0198c0de-0000-7000-8000-000000000000", **reviewer(cli))
    assert missing.returncode == 1
    assert missing.stderr.startswith("countersign: 404 ")
    assert len(missing.stderr.splitlines()) == 1


def test_a_token_that_does_not_count_is_refused_in_one_line(real: tuple[Cli, Up]) -> None:
    cli, _ = real
    ended = cli.run("approvals", "list", COUNTERSIGN_TOKEN="not.a.token")
    assert ended.returncode == 1
    assert ended.stderr.startswith("countersign: 401 ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(("option", "expected"), [([], "1\n"), (["--format", "JSONEachRow"], '{"n":1}\n')])
def test_audit_sql_prints_what_clickhouse_prints(real: tuple[Cli, Up], option: list[str], expected: str) -> None:
    cli, _ = real
    ended = cli.run("audit", "sql", "SELECT 1 AS n", *option)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, expected, "")


def test_audit_sql_reads_a_query_from_stdin(real: tuple[Cli, Up]) -> None:
    cli, _ = real
    assert cli.run("audit", "sql", "-", stdin="SELECT count() >= 0 FROM operations").stdout == "1\n"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nothing FROM operations", "Code: 47."),
        ("DROP TABLE operations", "Code: 497."),
        ("SELECT (", "Code: 62."),
    ],
)
def test_an_error_of_clickhouse_is_one_line(real: tuple[Cli, Up], query: str, words: str) -> None:
    cli, _ = real
    ended = cli.run("audit", "sql", query)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert words in line


def test_audit_over_a_clickhouse_address(real: tuple[Cli, Up]) -> None:
    cli, up = real
    host = up.endpoints["clickhouse"].removeprefix("http://")
    password = (up.root / "keys/audit.password").read_text()
    basic = f"http://auditor:{password}@{host}"
    assert cli.run("audit", "sql", "SELECT 2", COUNTERSIGN_CLICKHOUSE_URL=basic).stdout == "2\n"
    token = cli.run("token", "--subject", "eve", "--kind", "human", "--groups", "auditors").stdout.strip()
    as_reader = {"COUNTERSIGN_CLICKHOUSE_URL": f"http://{host}", "COUNTERSIGN_TOKEN": token}
    assert cli.run("audit", "sql", "SELECT 3", **as_reader).stdout == "3\n"
    wrong = cli.run("audit", "sql", "SELECT 4", COUNTERSIGN_CLICKHOUSE_URL=f"http://auditor:no@{host}")
    assert wrong.returncode == 1
    assert "Code: 516." in wrong.stderr


def test_an_unmodified_client_reads_the_audit(real: tuple[Cli, Up]) -> None:
    _, up = real
    host, _, port = up.endpoints["clickhouse"].removeprefix("http://").partition(":")
    password = (up.root / "keys/audit.password").read_text()
    client = clickhouse_connect.get_client(host=host, port=int(port), username="auditor", password=password)
    assert client.query("SELECT count() >= 0 FROM operations").result_rows[0][0] in (1, True)
    client.close()


def test_a_policy_is_applied_to_the_running_instance(real: tuple[Cli, Up]) -> None:
    cli, up = real
    (cli.directory / "other.yaml").write_text("rules: []\n")
    ended = cli.run("policy", "apply", "other.yaml")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("other.yaml: in force, version ")
    assert cli.run("policy", "apply", "other.yaml", "--data", str(up.root)).stdout == ended.stdout


def test_the_policy_service_never_saw_a_secret(real: tuple[Cli, Up]) -> None:
    _, up = real
    assert not SECRETS.keys() & up.child("policy").environ().keys()
    assert SECRETS.keys() & up.child("ingress").environ().keys() == {"MODEL_KEY"}


def test_no_secret_is_in_the_logs_or_in_a_command_line(real: tuple[Cli, Up]) -> None:
    _, up = real
    passwords = [file.read_text() for file in (up.root / "keys").glob("*.password")]
    shown = up.log.read_text() + " ".join(" ".join(child.cmdline()) for child in up.alive())
    assert passwords
    assert not any(secret in shown for secret in passwords)
    assert not any(base64.b64encode(secret.encode()).decode() in shown for secret in passwords)


def test_the_audit_of_a_stopped_instance_can_still_be_read(cli: Cli, start_up: Callable[..., Up]) -> None:
    (cli.directory / "countersign.yaml").write_text(REAL_SETTINGS)
    up = start_up(module="countersign")
    up.wait_ready()
    assert up.stop() == 0
    ended = cli.spawn("audit", "sql", "SELECT count() AS n FROM operations", "--format", "JSONEachRow")
    assert (ended.returncode, ended.stdout) == (0, '{"n":0}\n'), ended.stderr
