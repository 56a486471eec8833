"""A real `countersign up`: what an agent does is listed, replayed, exported and delivered, running and stopped."""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from services.recorder.delivery.webhook import signature
from tests.cli.conftest import Cli, Up, eventually
from tests.record_use.test_export import check

KEY = b"k" * 32
SETTINGS: dict[str, Any] = {
    "listen": dict.fromkeys(("http", "postgres", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0"),
    "limits": {"verdict_timeout": "20s"},
    "connectors": {"vendor": {"protocol": "http", "upstream": "http://127.0.0.1:1"}},
}
POLICY = "rules:\n  - {name: never-delete, when: action == 'http.delete', deny: deletions are not for agents}\n"


@contextmanager
def siem() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver of signed POSTs, and what it got."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            moment = int(self.headers["webhook-timestamp"])
            assert self.headers["webhook-signature"] == signature(KEY, self.headers["webhook-id"], moment, body)
            taken.extend(json.loads(line) for line in body.splitlines())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/in", taken
    finally:
        server.shutdown()
        server.server_close()


def ask(up: Up, token: str, method: str) -> int:
    """One request of an agent; its status."""
    headers = {"Authorization": f"Bearer {token}", "Countersign-Run": "spring-cleaning"}
    request = urllib.request.Request(f"{up.endpoints['http']}/vendor/v1/things/7", headers=headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    with caught.value as reply:
        return reply.status


def patiently(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    """What the command prints, once it is something: the recorder writes twice a second."""

    def look() -> list[dict[str, Any]]:
        ended = cli.run(*arguments)
        assert (ended.returncode, ended.stderr) == (0, "")
        return list(json.loads(ended.stdout))

    return eventually(look)


def test_a_running_instance_lists_replays_exports_and_delivers(tmp_path_factory: pytest.TempPathFactory) -> None:
    cli = Cli(tmp_path_factory.mktemp("running"))
    with siem() as (address, taken):
        receiver = {"name": "siem", "to": address, "secret": "${env:SIEM_SECRET}", "start": "beginning"}
        settings = SETTINGS | {"audit": {"deliver": [receiver]}}
        (cli.directory / "countersign.yaml").write_text(yaml.safe_dump(settings))
        (cli.directory / "policy.yaml").write_text(POLICY)
        secret = "whsec_" + base64.b64encode(KEY).decode()
        up = cli.start("countersign", "--json", SIEM_SECRET=secret)
        try:
            up.wait_ready()
            token = cli.run("token", "--subject", "cleaner", "--groups", "agents").stdout.strip()
            assert ask(up, token, "DELETE") == 403
            (session,) = patiently(cli, "sessions", "list", "--json", "--denied", "--run", "spring-cleaning")
            assert (session["subject"], session["denied"]) == ("cleaner", 1)
            said = cli.run("replay", session["session_id"], "--speed", "max").stdout
            assert "cleaner asks vendor for http.delete" in said
            assert "reason: deletions are not for agents" in said
            (event,) = eventually(lambda: taken)
            check(event)
            assert (event["actor"]["user"]["name"], event["action"], event["activity_name"]) == (
                "cleaner",
                "Denied",
                "Delete",
            )
        finally:
            up.stop()
            assert up.process.stdout
            up.process.stdout.close()
    # Stopped: the same commands open the store themselves.
    ended = cli.spawn("audit", "export", "--format", "ocsf")
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == event
    assert "Denied by never-delete" in cli.spawn("replay", session["session_id"], "--speed", "max").stdout
