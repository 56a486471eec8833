"""`countersign policy`: check a policy file, test it against cases, put it in force.

Counterpart: services/policy, whose own functions do all three; every mistake is printed with its line and column.
"""

from pathlib import Path
from typing import Annotated

import typer

from countersign.errors import CommandError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The policy, such as policy.yaml.")]


@app.callback()
def _policy() -> None:
    """Check, test and apply a policy."""
