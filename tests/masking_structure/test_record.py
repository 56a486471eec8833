"""What ClickHouse holds of masked streams: of the values of every detector, none, in no column of any table."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from services.ingress.masking.entities import ENTITIES
from tests.cli.conftest import Cli, eventually
from tests.masking.corpus import Sample, positives
from tests.masking_structure.streams import DOCUMENTS, TEXTS

POLICY = """
rules:
  - name: masked-both-ways
    when: connector.name == "model"
    allow: true
    mask: {request: [secrets, pii, financial], response: [secrets, pii, financial]}
"""
SAMPLES: list[Sample] = [sample for entity in ENTITIES for sample in positives(entity, 1)]
#: One value goes through every provider's stream, cut at every place.
CARD = Sample("4111111111111111.", "4111111111111111")
SHAPES = (*TEXTS[:3], *DOCUMENTS[1:])


class Model(BaseHTTPRequestHandler):
    """Streams the texts it is told to, cut in the middle of each value, and keeps what it was sent."""

    streams: ClassVar[dict[str, bytes]] = {}
    heard: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(self.streams[self.path.rpartition("/")[0]])

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def halves(sample: Sample) -> list[str]:
    middle = sample.text.index(sample.value) + len(sample.value) // 2
    return [sample.text[:middle], sample.text[middle:]]


def ask(url: str, path: str, token: str, text: str) -> bytes:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        f"{url}/model{path}/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read()


def test_no_value_reaches_the_agent_the_model_or_any_table(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with serving() as model:
        settings = {
            "listen": dict.fromkeys(("http", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0"),
            "limits": {"verdict_timeout": "20s"},
            "connectors": {"model": {"upstream": model}},
        }
        (tmp_path / "countersign.yaml").write_text(json.dumps(settings))
        (tmp_path / "policy.yaml").write_text(POLICY)
        up = cli.start("countersign", "--json")
        try:
            url = up.wait_ready()["http"]
            token = cli.run("token", "--subject", "agent").stdout.strip()
            seen = [text for number, sample in enumerate(SAMPLES) for text in _exchange(url, token, number, sample)]
            seen += [text for at in range(len(CARD.text) + 1) for text in _at(url, token, at)]
            rows = _tables(cli, 2 * len(SAMPLES) + len(SHAPES) * (len(CARD.text) + 1))
        finally:
            up.stop()
            assert up.process.stdout
            up.process.stdout.close()
    for sample in (*SAMPLES, CARD):
        assert not [text for text in seen if sample.value in text]
        assert not [body for body in Model.heard if sample.value.encode() in body]
        assert sample.value not in rows
    assert "EMAIL#" in rows


def _exchange(url: str, token: str, number: int, sample: Sample) -> Iterator[str]:
    """One stream in content and one in tool-call arguments; what the client reads of each."""
    for shape in (TEXTS[0], DOCUMENTS[0]):
        path = f"/v1/{shape.name.replace(' ', '-')}/{number}/chat"
        Model.streams[path] = shape.write(halves(sample))
        yield shape.read(ask(url, path, token, sample.text))


def _at(url: str, token: str, at: int) -> Iterator[str]:
    """The card cut at this place, in texts and in tool-call arguments of each provider."""
    for shape in SHAPES:
        text, cut = CARD.text, at
        if shape in DOCUMENTS:
            text, cut = json.dumps({"text": CARD.text}), at + len('{"text": "')
        path = f"/v1/{shape.name.replace(' ', '-')}/cut-{at}/chat"
        Model.streams[path] = shape.write([text[:cut], text[cut:]])
        said = shape.read(ask(url, path, token, "hello"))
        assert "[CREDIT_CARD]." in said
        yield said


def _tables(cli: Cli, operations: int) -> str:
    """Every row of every table, unescaped, once all has been written."""

    def written() -> bool:
        done = cli.run("audit", "sql", "SELECT countIf(outcome = 'forwarded') FROM operations").stdout.strip()
        frames = cli.run("audit", "sql", "SELECT count() FROM frames").stdout.strip()
        return int(done or 0) >= operations and int(frames or 0) >= operations

    eventually(written)
    names = cli.run("audit", "sql", "SHOW TABLES").stdout.split()
    assert {"attempts", "outcomes", "events", "frames"} <= set(names)
    return "".join(cli.run("audit", "sql", f"SELECT * FROM {name}", "--format", "TSVRaw").stdout for name in names)
