"""The world of `world.py` in a store of its own, served as a running instance serves it: `python -m … DIR [--stop]`.

In a process of its own, because chDB opens one directory per process. Prints the endpoint's address, and serves until
its stdin ends; with `--stop` it only records and leaves.
"""

import asyncio
import logging
import sys
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from services.recorder.access import AUDITOR
from services.recorder.clickhouse import Store
from services.recorder.erasing import erase
from services.recorder.metrics import make_metrics
from services.recorder.migrate import migrate
from services.recorder.position import Position
from services.recorder.proof.note import origin
from services.recorder.reader_request import Credentials
from services.recorder.readonly_http import EmbeddedClickHouse
from services.recorder.sealer import Sealer
from services.recorder.store_address import EmbeddedAddress
from tests.record_use.world import afternoon
from tests.recorder.recording import record

PASSWORD = "watchman"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)


async def _authenticate(credentials: Credentials) -> str | None:
    return AUDITOR if credentials.password == PASSWORD else None


async def seal(store: Store) -> None:
    """The log over all of it, under a key that tests know."""
    stored = Position(epoch=1, stored=10**6, claimed=10**6)
    await Sealer(
        store,
        "AUDIT",
        origin=origin("countersign", "AUDIT"),
        key=LOG_KEY,
        position=lambda: stored,
        metrics=make_metrics(CollectorRegistry()),
    ).seal()


async def serve(directory: Path, *, stop: bool) -> None:
    store = Store(f"chdb://{directory}")
    await migrate(store)
    await record(store, afternoon().events)
    await erase(store)
    await seal(store)
    if not stop:
        endpoint = EmbeddedClickHouse(EmbeddedAddress(directory), _authenticate)
        port = await endpoint.start("127.0.0.1", 0)
        print(f"http://{AUDITOR}:{PASSWORD}@127.0.0.1:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await endpoint.stop()
    await store.close()


if __name__ == "__main__":
    # stdout is for the address alone: nobody reads on, and a full pipe would stop us.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(serve(Path(sys.argv[1]), stop="--stop" in sys.argv))
