"""What `countersign approvals` and `countersign grants` share: asking the gateway in one's own name, safe printing.

Counterpart: the ingress's `/-/approvals` and `/-/grants` routes, which ask the approver with the caller's own token;
whether they may decide, and that nobody decides their own operation, is settled there.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from countersign.errors import CommandError, Misuse
from countersign.http import json_body, send
from countersign.where import gateway, token

#: Wide enough for what decides at a glance; `show` has the whole.
_WIDTH = 60


def ask(data: Path | None, path: str, found: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What the answer holds under `found`. Raises CommandError with the gateway's words when it refuses."""
    front, reviewer = gateway(data), token()
    content = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {reviewer}", "Content-Type": "application/json"}
    reply = json_body(send(front.url + path, headers, body=content, tls=front.tls()))
    views = reply.get(found)
    if not isinstance(views, list):
        raise CommandError(f"{front.url}: not the reply of a Countersign gateway")
    return views


def one(views: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """The only one. Raises CommandError."""
    if len(views) != 1:
        raise CommandError(f"404 Not Found: there is no such {what}, or you may not see it")
    return views[0]


def segment(identifier: str, command: str) -> str:
    """An id as part of an address. Raises Misuse when there is none."""
    if not identifier.strip():
        raise Misuse(f"ID: name one, as `{command}` shows it")
    return quote(identifier, safe="")


def short(text: str) -> str:
    """The head and the tail: what matters may stand at either end."""
    plain = " ".join(printable(text).split())
    half = (_WIDTH - 3) // 2
    return plain if len(plain) <= _WIDTH else f"{plain[:half]} … {plain[-half:]}"


def printable(text: str, *, keep_lines: bool = False) -> str:
    """The text without control characters: what an agent wrote must not steer the reviewer's terminal."""
    plain = text if keep_lines else text.replace("\n", " ")
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in plain)
