"""`countersign approvals`: see what waits for a person, and decide it as the identity in COUNTERSIGN_TOKEN.

Counterpart: `reviewing`, which asks the gateway.
"""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from countersign.errors import Misuse
from countersign.reading import row, whole
from countersign.reviewing import ask, one, segment
from countersign.where import DataOption
from schemas.base import utc_now
from services.runtime.settings.values import seconds

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
        print("\n".join(row(view, utc_now()) for view in found))


@app.command()
def show(approval: Id, json: AsJson = False, data: DataOption = None) -> None:
    """Show one approval whole."""
    view = one(ask(data, f"/-/approvals/{_segment(approval)}", "approvals"), "approval")
    print(jsonlib.dumps(view) if json else "\n".join(whole(view, utc_now())))


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
