"""`countersign token`: a signed token of the local issuer, alone on stdout. Works whether or not `up` is running.

Counterpart: services/runtime/identity/local.py, whose public half every service of this data directory trusts.
"""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from countersign.errors import CommandError, Misuse
from countersign.where import DataOption, data_dir
from services.runtime.identity.local import LocalIssuer
from services.runtime.settings.values import seconds

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Kind(StrEnum):
    """Who holds the token."""

    AGENT = "agent"
    HUMAN = "human"
    SERVICE = "service"


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Who it is for (`sub`).")],
    groups: Annotated[str, typer.Option(metavar="A,B", help="Groups, separated by commas.")] = "",
    kind: Annotated[Kind, typer.Option(help="What the holder is.")] = Kind.AGENT,
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="How long it is good for: 15m, 12h, 7d.")] = "12h",
    connector: Annotated[str | None, typer.Option(help="The only connector it opens; any without.")] = None,
    email: Annotated[str, typer.Option(help="The holder's e-mail address.")] = "",
    owner: Annotated[str, typer.Option(help="Subject of the person a service account belongs to.")] = "",
    data: DataOption = None,
) -> None:
    """Mint a token of the local issuer and print it."""
    names = [name.strip() for name in groups.split(",") if name.strip()]
    try:
        lifetime = timedelta(seconds=seconds(ttl))
    except ValueError as error:
        raise Misuse(f"--ttl: {error}") from None
    try:
        issuer = _issuer(data_dir(data).keys)
        minted = issuer.mint(
            subject, names, kind.value, email=email, ttl=lifetime, connector=connector or None, owner=owner
        )
    except ValueError as error:
        raise Misuse(str(error)) from None
    print(minted)


def _issuer(directory: Path) -> LocalIssuer:
    """This directory's issuer, made at first use. Raises CommandError when its key cannot be used."""
    try:
        return LocalIssuer.load_or_create(directory)
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from None
