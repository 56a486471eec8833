"""`countersign audit sql`: ask the audit in SQL, print what ClickHouse prints. Counterpart: countersign/record.py."""

import sys
from typing import Annotated

import typer

from countersign.export.command import export
from countersign.proof.command import register
from countersign.record import opened
from countersign.where import DataOption

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _audit() -> None:
    """Read the audit."""


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A SELECT, or - to read it from stdin.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="A ClickHouse format, such as JSONEachRow or CSV.")
    ] = "TabSeparated",
    data: DataOption = None,
) -> None:
    """Run a query on the audit and print the result as ClickHouse formats it."""
    text = sys.stdin.read() if query == "-" else query
    with opened(data) as record:
        for piece in record.ask(text, format_, {}):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


app.command()(export)
register(app)
