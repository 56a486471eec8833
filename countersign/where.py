"""Which instance a command means: `--data DIR`, else COUNTERSIGN_URL, else the one in ./data.

What is written on the command line beats the environment: with COUNTERSIGN_URL exported, `--data` still reaches the
embedded instance beside you.
"""

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from countersign.errors import CommandError, Misuse
from services.runtime.data_dir import DataDir
from services.runtime.settings.values import seconds

DEFAULT_DATA = Path("data")
#: The local CA of `listen.tls: auto`, as the ingress writes it.
LOCAL_CA = "ca.pem"

#: `--data DIR`, on every command.
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data directory of an embedded instance.", show_default="./data"),
]


@dataclass(frozen=True)
class Gateway:
    """An instance's HTTP front: base address without a final slash, and the CA to trust beside the system's."""

    url: str
    ca: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """A verifying context for https, None for http."""
        if not self.url.startswith("https://"):
            return None
        context = ssl.create_default_context()
        if self.ca is not None:
            context.load_verify_locations(cafile=self.ca)
        return context


def data_dir(given: Path | None) -> DataDir:
    """The embedded instance's directory."""
    return DataDir(given or DEFAULT_DATA)


def gateway(given: Path | None) -> Gateway:
    """The instance's HTTP front. Raises CommandError when nothing runs where we look."""
    if given is None and (url := os.environ.get("COUNTERSIGN_URL")):
        return Gateway(_base("COUNTERSIGN_URL", url))
    data = data_dir(given)
    ca = data.root / "keys" / LOCAL_CA
    return Gateway(endpoint(data, "http"), ca if ca.exists() else None)


def endpoint(data: DataDir, name: str) -> str:
    """Address of one front of a running embedded instance. Raises CommandError."""
    try:
        return str(data.read_endpoints()[name])
    except (FileNotFoundError, NotADirectoryError, KeyError):
        raise CommandError(
            f"nothing runs in {data.root}: start `countersign up --data {data.root}`, or set COUNTERSIGN_URL"
        ) from None


def token() -> str:
    """COUNTERSIGN_TOKEN. Raises Misuse when it is not set."""
    if found := os.environ.get("COUNTERSIGN_TOKEN", "").strip():
        return found
    raise Misuse(
        "COUNTERSIGN_TOKEN is not set: export your own token, "
        "such as the output of `countersign token --subject YOU --kind human --groups YOUR,GROUPS`"
    )


def when(option: str, text: str) -> datetime:
    """ISO 8601, UTC unless it says otherwise, or a duration before now. Raises Misuse."""
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misuse(f"{option}: a time such as 2026-11-20T14:00, or how long ago such as 2h or 7d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _base(variable: str, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Misuse(f"{variable}: write an address such as https://gateway.example.com")
    return url.rstrip("/")
