"""`countersign approvals`: see what waits for a person, and decide it as the identity in COUNTERSIGN_TOKEN.

Counterpart: `reviewing`, which asks the gateway.
"""

import json as jsonlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from countersign.errors import Misuse
from countersign.reviewing import ask, one, printable, segment, short
from countersign.where import DataOption
from services.runtime.settings.values import seconds

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: What `show` prints, in this order; empty ones are left out.
_SHOWN = (
    *(
        "approval_id",
        "state",
        "detail",
        "subject",
        "email",
        "groups",
        "connector",
        "action",
        "method",
        "path",
        "resources",
    ),
    *("requirements", "escalated", "approved_by", "decided_by", "reason", "caller_reason", "requested_at"),
    *("expires_at", "preview", "use", "history", "grant_seconds", "max_uses", "operation_id", "digest", "statement"),
)


@app.callback()
def _approvals() -> None:
    """See and decide what waits for a person."""


@app.command("list")
def list_(json: AsJson = False, data: DataOption = None) -> None:
    """List the approvals you may see."""
    found = ask(data, "/-/approvals", "approvals")
    if json:
        print(jsonlib.dumps(found))
    elif not found:
        print("Nothing waits for you.")
    else:
        print("\n".join(_row(view) for view in found))


@app.command()
def show(approval: Id, json: AsJson = False, data: DataOption = None) -> None:
    """Show one approval whole."""
    view = one(ask(data, f"/-/approvals/{_segment(approval)}", "approvals"), "approval")
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


@app.command("break-glass")
def break_glass(
    approval: Id,
    reason: Annotated[str, typer.Option(help="Why it cannot wait for the others; they are told.")],
    data: DataOption = None,
) -> None:
    """Let an operation through alone, in an emergency, where the rule names you for that."""
    _decide(data, approval, "break-glass", reason=reason)


@app.command()
def deny(
    approval: Id,
    reason: Annotated[str, typer.Option(help="Your words to whoever asked, and for the record.")],
    data: DataOption = None,
) -> None:
    """Deny an operation."""
    _decide(data, approval, "deny", reason=reason, grant_seconds=0)


def _decide(data: Path | None, approval: str, verb: str, **body: Any) -> None:
    path = f"/-/approvals/{_segment(approval)}/{verb}"
    view = one(ask(data, path, "approvals", body), "approval")
    print(f"{view['approval_id']} {view['state']}")


def _segment(approval: str) -> str:
    return segment(approval, "countersign approvals list")


def _duration(text: str) -> float:
    try:
        return seconds(text) if text else 0.0
    except ValueError as error:
        raise Misuse(f"--grant: {error}") from None


def _row(view: dict[str, Any]) -> str:
    """One line: id, state, who, where, what, until when."""
    what = view.get("statement") or f"{view.get('method', '')} {view.get('path', '')}".strip()
    cells = (view["approval_id"], view["state"], view["subject"], view["connector"], view["action"])
    return "  ".join([*map(printable, cells), short(what), f"until {view['expires_at']}"])


def _lines(view: dict[str, Any]) -> Iterable[str]:
    for name in _SHOWN:
        if value := view.get(name):
            shown = value if isinstance(value, str) else jsonlib.dumps(value)
            yield f"{name:<15}{printable(shown, keep_lines=True)}"
