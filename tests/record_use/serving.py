"""The world of `world.py` in a store of its own, served as a running instance serves it: `python -m … DIR [--stop]`.

In a process of its own, because chDB opens one directory per process. Prints the endpoint's address, and serves until
its stdin ends; with `--stop` it only records and leaves.
"""

import asyncio
import sys
from pathlib import Path

from services.recorder.access import AUDITOR
from services.recorder.clickhouse import Store
from services.recorder.erasing import erase
from services.recorder.migrate import migrate
from services.recorder.reader_request import Credentials
from services.recorder.readonly_http import EmbeddedClickHouse
from services.recorder.store_address import EmbeddedAddress
from tests.record_use.world import afternoon
from tests.recorder.recording import record

PASSWORD = "watchman"


async def _authenticate(credentials: Credentials) -> str | None:
    return AUDITOR if credentials.password == PASSWORD else None


async def serve(directory: Path, *, stop: bool) -> None:
    store = Store(f"chdb://{directory}")
    await migrate(store)
    await record(store, afternoon().events)
    await erase(store)
    if not stop:
        endpoint = EmbeddedClickHouse(EmbeddedAddress(directory), _authenticate)
        port = await endpoint.start("127.0.0.1", 0)
        print(f"http://{AUDITOR}:{PASSWORD}@127.0.0.1:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await endpoint.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), stop="--stop" in sys.argv))
