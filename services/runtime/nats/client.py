"""Plain nats-py connections: for the hot path, for buckets, and under FastStream's broker alike.

nats-py keeps what is published while it reconnects, up to `PENDING_SIZE`, and sends it later: whoever must not be heard
late looks at `is_connected` first (services/ingress/emit.py).
"""

import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.runtime.data_dir import DataDir
from services.runtime.nats.cancellation import keep_cancellations
from services.runtime.nats.permissions import Role, inbox
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.model import NatsSettings

log = structlog.get_logger(__name__)

keep_cancellations()

#: Seconds between attempts to reconnect; a service keeps trying as long as it lives.
RECONNECT_WAIT = 0.25
#: Bytes that may wait for the socket or for the server to come back.
PENDING_SIZE = 8 * 1024 * 1024


@dataclass(frozen=True)
class BusAddress:
    """Where the bus is and who we are there."""

    role: Role
    servers: tuple[str, ...]
    user: str
    password: str
    ca: Path | None = None

    def options(self) -> dict[str, Any]:
        """Keyword arguments that nats.connect and FastStream's NatsBroker have in common."""
        return {
            "servers": list(self.servers),
            "name": f"countersign-{self.role}",
            "inbox_prefix": inbox(self.role),
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT,
            "connect_timeout": 5,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "allow_reconnect": True,
        }

    def tls(self) -> ssl.SSLContext | None:
        """A verifying context when a server is tls://, else None."""
        if not any(server.startswith("tls://") for server in self.servers):
            return None
        return ssl.create_default_context(cafile=str(self.ca) if self.ca else None)


def address(role: Role, settings: NatsSettings, data: DataDir) -> BusAddress:
    """Find the bus: from the supervisor's environment, a running embedded instance, or the settings.

    Raises SettingsError when it is embedded and nothing runs in the data directory.
    """
    if url := os.environ.get("COUNTERSIGN_NATS"):
        return BusAddress(role, (url,), role, os.environ.get("COUNTERSIGN_NATS_PASSWORD", ""))
    if settings.servers == "embedded":
        return _embedded(role, data)
    user = reveal(settings.user, "nats.user") if settings.user else role
    password = reveal(settings.password, "nats.password") if settings.password else ""
    return BusAddress(role, tuple(settings.servers), user, password, settings.ca)


def _embedded(role: Role, data: DataDir) -> BusAddress:
    try:
        url = data.read_endpoints()["nats"]
    except (FileNotFoundError, KeyError):
        raise SettingsError(
            f"nothing runs in {data.root}; start `countersign up --data {data.root}`, or set nats.servers"
        ) from None
    return BusAddress(role, (url,), role, data.secret_file(f"nats-{role}.password").read_text())


async def _report(error: Exception) -> None:
    log.warning("bus", error=str(error) or type(error).__name__)


async def close(client: Client) -> None:
    """Close a connection, whether or not its server is still there."""
    with suppress(NatsError, OSError):
        await client.close()


async def connect(
    bus: BusAddress,
    *,
    disconnected: Callable[[], Awaitable[None]] | None = None,
    reconnected: Callable[[], Awaitable[None]] | None = None,
    error: Callable[[Exception], Awaitable[None]] | None = None,
) -> Client:
    """Connect, trying until the bus answers. What the server complains of reaches `error`, else the log."""
    return await nats.connect(
        **bus.options(),
        user=bus.user,
        password=bus.password,
        tls=bus.tls(),
        pending_size=PENDING_SIZE,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=error or _report,
    )
