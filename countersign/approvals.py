"""`countersign approvals`: see what waits for a person, and decide it as the identity in COUNTERSIGN_TOKEN.

Counterpart: the ingress's `/-/approvals` routes, which ask the approver with the caller's own token; whether they may
decide, and that nobody decides their own operation, is settled there.
"""

import json as jsonlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from countersign.errors import CommandError, Misuse
from countersign.http import json_body, send
from countersign.where import DataOption, gateway, token
from services.runtime.settings.values import seconds

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: What `show` prints, in this order; empty ones are left out.
_SHOWN = (
    *("approval_id", "state", "subject", "email", "groups", "connector", "action", "method", "path", "resources"),
    *("requirements", "approved_by", "decided_by", "reason", "caller_reason", "requested_at", "expires_at"),
    *("grant_seconds", "operation_id", "digest", "statement"),
)
#: Wide enough for what decides at a glance; `show` has the whole.
_WIDTH = 60


@app.callback()
def _approvals() -> None:
    """See and decide what waits for a person."""


@app.command("list")
def list_(json: AsJson = False, data: DataOption = None) -> None:
    """List the approvals you may see."""
    found = _ask(data, "/-/approvals")
    if json:
        print(jsonlib.dumps(found))
    elif not found:
        print("Nothing waits for you.")
    else:
        print("\n".join(_row(view) for view in found))


@app.command()
def show(approval: Id, json: AsJson = False, data: DataOption = None) -> None:
    """Show one approval whole."""
    view = _one(_ask(data, f"/-/approvals/{_segment(approval)}"))
    print(jsonlib.dumps(view) if json else "\n".join(_lines(view)))


@app.command()
def approve(
    approval: Id,
    grant: Annotated[
        str, typer.Option(metavar="DURATION", help="Also allow the same for this long, as far as the rule lets you.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Your words, for the record.")] = "",
    data: DataOption = None,
) -> None:
    """Approve an operation."""
    _decide(data, approval, "approve", reason=reason, grant_seconds=_duration(grant))


@app.command()
def deny(
    approval: Id,
    reason: Annotated[str, typer.Option(help="Your words to whoever asked, and for the record.")],
    data: DataOption = None,
) -> None:
    """Deny an operation."""
    _decide(data, approval, "deny", reason=reason, grant_seconds=0)


def _decide(data: Path | None, approval: str, verb: str, **body: Any) -> None:
    view = _one(_ask(data, f"/-/approvals/{_segment(approval)}/{verb}", body))
    print(f"{view['approval_id']} {view['state']}")


def _ask(data: Path | None, path: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The approvals in the answer. Raises CommandError with the gateway's words when it refuses."""
    front, reviewer = gateway(data), token()
    content = None if body is None else jsonlib.dumps(body).encode()
    headers = {"Authorization": f"Bearer {reviewer}", "Content-Type": "application/json"}
    reply = json_body(send(front.url + path, headers, body=content, tls=front.tls()))
    found = reply.get("approvals")
    if not isinstance(found, list):
        raise CommandError(f"{front.url}: not the reply of a Countersign gateway")
    return found


def _one(found: list[dict[str, Any]]) -> dict[str, Any]:
    if len(found) != 1:
        raise CommandError("404 Not Found: there is no such approval, or you may not see it")
    return found[0]


def _segment(approval: str) -> str:
    if not approval.strip():
        raise Misuse("ID: name an approval, as `countersign approvals list` shows it")
    return quote(approval, safe="")


def _duration(text: str) -> float:
    try:
        return seconds(text) if text else 0.0
    except ValueError as error:
        raise Misuse(f"--grant: {error}") from None


def _row(view: dict[str, Any]) -> str:
    """One line: id, state, who, where, what, until when."""
    what = view.get("statement") or f"{view.get('method', '')} {view.get('path', '')}".strip()
    cells = (view["approval_id"], view["state"], view["subject"], view["connector"], view["action"])
    return "  ".join([*map(_printable, cells), _short(what), f"until {view['expires_at']}"])


def _lines(view: dict[str, Any]) -> Iterable[str]:
    for name in _SHOWN:
        if value := view.get(name):
            shown = value if isinstance(value, str) else jsonlib.dumps(value)
            yield f"{name:<15}{_printable(shown, keep_lines=True)}"


def _short(text: str) -> str:
    """The head and the tail: what matters may stand at either end."""
    plain = " ".join(_printable(text).split())
    half = (_WIDTH - 3) // 2
    return plain if len(plain) <= _WIDTH else f"{plain[:half]} … {plain[-half:]}"


def _printable(text: str, *, keep_lines: bool = False) -> str:
    """The text without control characters: what an agent wrote must not steer the reviewer's terminal."""
    plain = text if keep_lines else text.replace("\n", " ")
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in plain)
