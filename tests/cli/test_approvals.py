"""`countersign approvals` against a real instance with a local CA: an agent is held, a person decides by command."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Up
from tests.conftest import until

SETTINGS = """
listen: {{http: 127.0.0.1:0, clickhouse: 127.0.0.1:0, policy: 127.0.0.1:0, approver: 127.0.0.1:0, recorder: 127.0.0.1:0,
         tls: auto}}
limits: {{verdict_timeout: 20s}}
connectors:
  vendor: {{upstream: "{upstream}"}}
"""
POLICY = """rules:
  - name: refunds-need-a-person
    when: action == "http.post"
    approve: {by: [reviewers], expires: 15m, grant: 1h, max_uses: 5, break_glass: {by: [sre]}}
"""


class Vendor(BaseHTTPRequestHandler):
    """Answers what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Up]]:
    """One instance for the whole file."""
    vendor = HTTPServer(("127.0.0.1", 0), Vendor)
    thread = threading.Thread(target=vendor.serve_forever)
    thread.start()
    cli = Cli(tmp_path_factory.mktemp("approvals"))
    (cli.directory / "countersign.yaml").write_text(SETTINGS.format(upstream=f"http://127.0.0.1:{vendor.server_port}"))
    (cli.directory / "policy.yaml").write_text(POLICY)
    up = cli.start("countersign", "--json")
    try:
        up.wait_ready()
        yield cli, up
    finally:
        up.stop()
        assert up.process.stdout
        up.process.stdout.close()
        vendor.shutdown()
        vendor.server_close()
        thread.join()


def token(cli: Cli, subject: str, kind: str = "human", groups: str = "reviewers") -> str:
    return cli.run("token", "--subject", subject, "--kind", kind, "--groups", groups).stdout.strip()


def refund(cli: Cli, up: Up, bearer: str, amount: int, **headers: str) -> tuple[int, dict[str, str], Any]:
    """The agent's call: status, headers, body."""
    request = urllib.request.Request(
        f"{up.endpoints['http']}/vendor/refunds",
        json.dumps({"amount": amount}).encode(),
        {
            "Authorization": f"Bearer {bearer}",
            "Content-Type": "application/json",
            "Prefer": "respond-async",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    context = ssl.create_default_context(cafile=str(Path(up.root / "keys/ca.pem")))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as reply:
            return reply.status, dict(reply.headers), json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.loads(error.read() or b"null")


def held(cli: Cli, up: Up, bearer: str, amount: int) -> str:
    """Make a call that waits for a person; the approval's id."""
    status, headers, _ = refund(cli, up, bearer, amount, Countersign_Reason="the parcel was lost")
    assert status == 202
    return headers["Location"].rpartition("/")[2]


async def listed(cli: Cli, reviewer: str, approval: str) -> dict[str, Any]:
    """The approval, once the approver lists it."""

    def find() -> dict[str, Any] | None:
        found = json.loads(cli.run("approvals", "list", "--json", COUNTERSIGN_TOKEN=reviewer).stdout)
        return next((view for view in found if view["approval_id"] == approval), None)

    view: dict[str, Any] = await until(find)
    return view


async def test_an_operation_waits_is_seen_and_approved_and_then_goes_through_once(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    agent, ada = token(cli, "refund-agent", "agent", "agents"), token(cli, "ada")
    approval = held(cli, up, agent, 80)
    view = await listed(cli, ada, approval)
    assert (view["subject"], view["connector"], view["action"]) == ("refund-agent", "vendor", "http.post")
    shown = cli.run("approvals", "show", approval, COUNTERSIGN_TOKEN=ada).stdout
    assert "the parcel was lost" in shown
    assert '"amount"' in shown
    assert approval in cli.run("approvals", "list", COUNTERSIGN_TOKEN=ada).stdout
    decided = cli.run("approvals", "approve", approval, "--reason", "seen", COUNTERSIGN_TOKEN=ada)
    assert (decided.returncode, decided.stdout) == (0, f"{approval} approved\n"), decided.stderr
    assert refund(cli, up, agent, 80, Countersign_Approval=approval)[::2] == (200, {"amount": 80})
    assert refund(cli, up, agent, 80, Countersign_Approval=approval)[0] != 200
    query = f"SELECT approved_by, outcome FROM operations WHERE approval_id = '{approval}' AND outcome = 'forwarded'"
    await until(lambda: "ada" in cli.run("audit", "sql", query).stdout)


async def test_a_denial_with_its_reason(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    agent, ada = token(cli, "refund-agent", "agent", "agents"), token(cli, "ada")
    approval = held(cli, up, agent, 90)
    await listed(cli, ada, approval)
    decided = cli.run("approvals", "deny", approval, "--reason", "too much", COUNTERSIGN_TOKEN=ada)
    assert (decided.returncode, decided.stdout) == (0, f"{approval} denied\n"), decided.stderr
    again = cli.run("approvals", "approve", approval, COUNTERSIGN_TOKEN=ada)
    assert again.returncode == 1
    assert len(again.stderr.splitlines()) == 1


async def test_nobody_approves_their_own_and_nobody_without_the_group(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    own = token(cli, "grace", "human", "reviewers,agents")
    approval = held(cli, up, own, 95)
    await listed(cli, token(cli, "ada"), approval)
    for bearer in (own, token(cli, "eve", "human", "visitors")):
        refused = cli.run("approvals", "approve", approval, COUNTERSIGN_TOKEN=bearer)
        assert refused.returncode == 1
        assert refused.stderr.startswith("countersign: 40")
        assert len(refused.stderr.splitlines()) == 1


async def test_a_grant_lets_the_next_one_through(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    agent, ada = token(cli, "trusted-agent", "agent", "agents"), token(cli, "ada")
    approval = held(cli, up, agent, 10)
    await listed(cli, ada, approval)
    decided = cli.run("approvals", "approve", approval, "--grant", "30m", COUNTERSIGN_TOKEN=ada)
    assert decided.returncode == 0, decided.stderr
    await until(lambda: refund(cli, up, agent, 11)[0] == 200)
    (grant,) = await until(lambda: json.loads(cli.run("grants", "list", "--json", COUNTERSIGN_TOKEN=ada).stdout))
    assert (grant["subject"], grant["rule"], grant["approved_by"]) == ("trusted-agent", "refunds-need-a-person", "ada")
    assert "whatever the rule refunds-need-a-person asks about from trusted-agent" in grant["scope"]
    assert "at most 5 times" in grant["scope"]
    eve = token(cli, "eve", "human", "visitors")
    assert "No grant" in cli.run("grants", "list", COUNTERSIGN_TOKEN=eve).stdout
    assert cli.run("grants", "revoke", grant["grant_id"], COUNTERSIGN_TOKEN=eve).returncode == 1
    assert refund(cli, up, agent, 12)[0] == 200
    await until(lambda: "of 5 times" in cli.run("grants", "list", COUNTERSIGN_TOKEN=ada).stdout)
    revoked = cli.run("grants", "revoke", grant["grant_id"], "--reason", "enough", COUNTERSIGN_TOKEN=ada)
    assert (revoked.returncode, revoked.stdout) == (0, f"{grant['grant_id']} revoked\n"), revoked.stderr
    assert refund(cli, up, agent, 13)[0] != 200, "the very next operation"
    again = cli.run("grants", "revoke", grant["grant_id"], COUNTERSIGN_TOKEN=ada)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)


async def test_glass_is_broken_by_those_named_for_it_with_a_reason(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    agent = token(cli, "refund-agent", "agent", "agents")
    approval = held(cli, up, agent, 70)
    ada, sam = token(cli, "ada"), token(cli, "sam", "human", "sre")
    await listed(cli, sam, approval)
    assert cli.run("approvals", "approve", approval, COUNTERSIGN_TOKEN=sam).returncode == 1
    refused = cli.run("approvals", "break-glass", approval, "--reason", "fire", COUNTERSIGN_TOKEN=ada)
    assert (refused.returncode, "does not name you" in refused.stderr) == (1, True)
    assert cli.run("approvals", "break-glass", approval, "--reason", " ", COUNTERSIGN_TOKEN=sam).returncode == 1
    done = cli.run("approvals", "break-glass", approval, "--reason", "shop is down", COUNTERSIGN_TOKEN=sam)
    assert (done.returncode, done.stdout) == (0, f"{approval} approved\n"), done.stderr
    shown = cli.run("approvals", "show", approval, COUNTERSIGN_TOKEN=ada).stdout
    assert "in an emergency: shop is down" in shown
    assert refund(cli, up, agent, 70, Countersign_Approval=approval)[::2] == (200, {"amount": 70})


def test_https_is_verified(gateway: tuple[Cli, Up]) -> None:
    cli, up = gateway
    url = up.endpoints["http"]
    assert url.startswith("https://")
    ended = cli.run("approvals", "list", COUNTERSIGN_URL=url, COUNTERSIGN_TOKEN=token(cli, "ada"))
    assert ended.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
