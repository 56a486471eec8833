"""The data directory of an embedded instance (`--data`, default `./data`): what is where, and with which rights."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DataDir:
    """Paths below one root. Directories are created with 0700, files with 0600, when first asked for."""

    root: Path

    @property
    def keys(self) -> Path:
        """Private keys and generated passwords."""
        return self._directory("keys")

    @property
    def nats(self) -> Path:
        """JetStream's store and the embedded server's configuration."""
        return self._directory("nats")

    @property
    def endpoints(self) -> Path:
        """Real addresses of a running instance, as `listen` names them, plus `nats`."""
        return self.root / "endpoints.json"

    @property
    def audit_password(self) -> Path:
        """Password of the user `auditor` on the embedded ClickHouse endpoint."""
        return self.keys / "audit.password"

    def secret_file(self, name: str, length: int = 32) -> Path:
        """A file of random text in `keys`, created once; safe when several processes start together."""
        path = self.keys / name
        if not path.exists():
            write_once(path, secrets.token_urlsafe(length).encode())
        return path

    def read_endpoints(self) -> dict[str, Any]:
        """What `countersign up` wrote. Raises FileNotFoundError when nothing runs here."""
        loaded: dict[str, Any] = json.loads(self.endpoints.read_text())
        return loaded

    def _directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def write_once(path: Path, content: bytes) -> None:
    """Create a 0600 file with this content, whole or not at all; a file already there wins."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    _write(temporary, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def replace(path: Path, content: bytes) -> None:
    """Write a 0600 file so that readers see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    _write(temporary, content)
    temporary.replace(path)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
