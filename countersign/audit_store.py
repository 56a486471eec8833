"""Asks a stopped instance's embedded store: opened here, behind the guard that the running endpoint uses.

Counterpart: services/recorder/reader_engine.py. The instance's lock is held meanwhile: chDB lets only one process
into a directory.
"""

from pathlib import Path

from countersign.errors import CommandError
from countersign.lock import Lock
from services.recorder.reader_engine import QueryFailed, ReaderEngine, ReaderQuery
from services.recorder.reader_settings import ReaderLimits
from services.recorder.sql_guard import Refused
from services.recorder.store_address import EmbeddedAddress


def ask(root: Path, store: Path, text: str, format_: str) -> bytes:
    """The result as ClickHouse formats it. Raises CommandError with ClickHouse's words."""
    if not store.is_dir():
        raise CommandError(
            f"nothing runs in {root}, and it holds no audit: start `countersign up --data {root}`, "
            "or set COUNTERSIGN_CLICKHOUSE_URL"
        )
    lock = Lock(root)
    engine = ReaderEngine(EmbeddedAddress(store), ReaderLimits())
    try:
        engine.open()
        return engine.run(ReaderQuery(text, format_)).body
    except (Refused, QueryFailed) as error:
        raise CommandError(f"Code: {error.code}. DB::Exception: {error}") from None
    finally:
        engine.close()
        lock.release()
