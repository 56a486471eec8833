"""The database's directory: where it is, and that only one recorder has it open.

chDB lets one process open a directory. A second recorder on it must say so and end, not fail on its first insert; and
whoever holds the lock knows that an earlier holder is dead (seat.Writer).
"""

import fcntl
import os
from pathlib import Path

from services.recorder.store_address import EmbeddedAddress, parse_dsn
from services.runtime.data_dir import DataDir
from services.runtime.settings import SettingsError


def located(dsn: str, data: DataDir) -> str:
    """The DSN with a relative chDB directory taken from the data directory. Raises SettingsError."""
    try:
        address = parse_dsn(dsn)
    except ValueError as error:
        raise SettingsError(f"audit.dsn: {error}") from None
    if not isinstance(address, EmbeddedAddress) or address.directory.is_absolute():
        return dsn
    return f"chdb://{(data.root / address.directory).resolve()}"


class DirectoryLock:
    """Held from `acquire` until the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises SettingsError when another process has it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory.with_name(f".{self._directory.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SettingsError(
                f"{self._directory} is open in another recorder; chDB allows one: "
                "stop the other, or set audit.dsn to a ClickHouse server to run several"
            ) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
