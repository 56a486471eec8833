"""docs/proof.md on a running instance: every command of the page as it stands there, in its order."""

import json
import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.cli.conftest import POLICY, REPOSITORY, SECRETS, SETTINGS, Cli, Ended, Up, eventually

PAGE = (REPOSITORY / "docs" / "proof.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Up]]:
    cli = Cli(tmp_path_factory.mktemp("proof"))
    witness = cli.directory / "checkpoints.txt"
    audit = f"audit: {{checkpoint_every: 300ms, witness_every: 300ms, witnesses: ['file:{witness}']}}\n"
    (cli.directory / "countersign.yaml").write_text(SETTINGS.partition("approvals:")[0] + audit)
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


def run(cli: Cli, command: str, **values: str) -> Ended:
    """A line of the page; `> FILE` as a shell would."""
    line, _, file = command.partition(" > ")
    for name, value in values.items():
        line = line.replace(f"${name}", shlex.quote(value))
    program, *arguments = shlex.split(line)
    assert program == "countersign"
    ended = cli.run(*arguments)
    if file:
        (cli.directory / file).write_text(ended.stdout)
    return ended


def operation(cli: Cli, up: Up) -> tuple[str, str]:
    """An agent is denied something; answers operation and session, once they are under a checkpoint."""
    token = cli.run("token", "--subject", "agent-7").stdout.strip()
    request = urllib.request.Request(
        f"{up.endpoints['http']}/openai/v1/files",
        data=b'{"prompt": "the customer is Anna"}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as denied:
        urllib.request.urlopen(request, timeout=60)
    id_ = denied.value.headers["Countersign-Operation"]
    denied.value.close()
    found = eventually(
        lambda: cli.run(
            "audit", "sql", f"SELECT session_id FROM attempts WHERE operation_id = '{id_}' AND stream_seq <= "
            "(SELECT max(stream_seq) FROM checkpoints WHERE stream = 'AUDIT')"
        ).stdout.strip()
    )  # fmt: skip
    return id_, str(found)


def test_every_command_of_the_page(instance: tuple[Cli, Up]) -> None:
    cli, up = instance
    id_, session = operation(cli, up)
    eventually(lambda: (cli.directory / "checkpoints.txt").exists())
    (vkey, recording) = cli.run("audit", "key").stdout.splitlines()
    assert vkey.startswith("countersign/audit+")
    assert recording.startswith("countersign/recording+")
    told = {}
    for command in COMMANDS:
        ended = run(cli, command, OPERATION=id_, SESSION=session, VKEY=vkey)
        assert ended.returncode == 0, (command, ended)
        told[command.split()[2]] = ended.stdout
    assert "all is well" in told["verify"]
    assert "nothing is missing" in told["completeness"]
    assert "leaf" in told["check-proof"]
    assert "Anna" in (cli.directory / "operation.json").read_text() or "sealed" in told["prove"]
    shown = json.loads(cli.run("audit", "check-proof", "operation.json", "--vkey", vkey, "--json").stdout)
    assert any("/v1/files" in one["event"] and one["whole"] for one in shown)
    # After the erasure the proof holds, and nothing of what was said is left.
    ended = cli.run("audit", "verify", "--json")
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["ok"], report["erased_sessions"]) == (0, True, 1)
    said = cli.run("audit", "sql", f"SELECT statement FROM operations WHERE operation_id = '{id_}'").stdout
    assert said.strip() == "[erased]"
    who = cli.run(
        "audit", "sql", "SELECT requested_by, reason, keys_left FROM erased_sessions", "--format", "CSV"
    ).stdout
    assert who.strip() == '"dpo@example.com","asked for it",0'
    kept = cli.run("audit", "prove", id_, "--reveal").stdout
    assert "Anna" not in kept
    assert json.loads(kept)["events"][0]["content_key"] == ""


def test_a_changed_proof_does_not_hold(instance: tuple[Cli, Up]) -> None:
    cli, up = instance
    id_, session = operation(cli, up)
    (vkey, recording) = cli.run("audit", "key").stdout.splitlines()
    file = cli.directory / "lie.json"
    file.write_text(cli.run("audit", "prove", id_).stdout.replace("agent-7", "agent-8"))
    ended = cli.run("audit", "check-proof", str(file), "--vkey", vkey)
    assert ended.returncode == 1
    assert "not what the log holds" in ended.stderr
    assert cli.run("audit", "check-proof", str(file), "--vkey", recording).returncode == 1
    assert cli.run("audit", "verify", "--vkey", "nonsense").returncode == 2
    assert cli.run("audit", "prove", "0198c0de-0000-7000-8000-000000000000").returncode == 1
    assert cli.run("audit", "erase").returncode == 2
    other = file.with_name("other.json")
    other.write_text(
        cli.run("audit", "prove", id_).stdout.replace(id_, f"{id_[:-1]}{'0' if id_[-1] != '0' else '1'}", 1)
    )
    ended = cli.run("audit", "check-proof", str(other), "--vkey", vkey)
    assert (ended.returncode, f"it is an event of operation {id_}" in ended.stderr) == (1, True)
    # An erasure of what is no session would be on record for good.
    ended = cli.run("audit", "erase", "--session", id_, "--yes")
    assert (ended.returncode, f"an operation of session {session}" in ended.stderr) == (1, True)
    assert cli.run("audit", "erase", "--session", "0198c0de-0000-7000-8000-000000000000", "--yes").returncode == 1
