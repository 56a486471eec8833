"""`countersign grants`: the time-boxed approvals in force that you may end, and ending one.

You see, and may revoke, grants that your groups could have given, and those you hold yourself: giving something up
needs nobody's leave. What runs under a revoked grant is cut off, and the next operation asks people again.
"""

import json as jsonlib
from typing import Annotated, Any

import typer

from countersign.reviewing import ask, one, printable, segment
from countersign.where import DataOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The grant's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _grants() -> None:
    """See and end what people have approved for a while."""


@app.command("list")
def list_(json: AsJson = False, data: DataOption = None) -> None:
    """List the grants in force that you may revoke, the one that ends first in front."""
    found = ask(data, "/-/grants", "grants")
    if json:
        print(jsonlib.dumps(found))
    elif not found:
        print("No grant is in force that you may revoke.")
    else:
        print("\n".join(_line(view) for view in found))


@app.command()
def revoke(
    grant: Id,
    reason: Annotated[str, typer.Option(help="Your words, for the record.")] = "",
    data: DataOption = None,
) -> None:
    """End a grant now, with whatever runs under it."""
    path = f"/-/grants/{segment(grant, 'countersign grants list')}/revoke"
    view = one(ask(data, path, "grants", {"reason": reason}), "grant")
    print(f"{view['grant_id']} revoked")


def _line(view: dict[str, Any]) -> str:
    """Id, what it covers, who gave it, how often it was used."""
    used = f"used {view['uses']} of {view['max_uses']} times" if view.get("max_uses") else ""
    cells = (view["grant_id"], view["scope"], f"approved by {view['approved_by']}", used)
    return "  ".join(printable(str(cell)) for cell in cells if cell)
