"""Asks a stopped instance's embedded store: opened here, behind the guard that the running endpoint uses.

Counterpart: services/recorder/reader_engine.py. The instance's lock is held meanwhile: chDB lets only one process
into a directory.
"""

from collections.abc import Iterator
from pathlib import Path

from countersign.errors import CommandError
from countersign.lock import Lock
from countersign.record import PIECE, Parameters, QueryRefused, escaped
from services.recorder.reader_engine import QueryFailed, ReaderEngine, ReaderQuery
from services.recorder.reader_settings import ReaderLimits
from services.recorder.sql_guard import Refused
from services.recorder.store_address import EmbeddedAddress


class StoppedStore:
    """The store of an instance that does not run, open until `close`."""

    def __init__(self, root: Path, store: Path) -> None:
        """Raises CommandError when there is none, or another process is in it."""
        if not store.is_dir():
            raise CommandError(
                f"nothing runs in {root}, and it holds no audit: start `countersign up --data {root}`, "
                "or set COUNTERSIGN_CLICKHOUSE_URL"
            )
        self._lock = Lock(root)
        self._engine = ReaderEngine(EmbeddedAddress(store), ReaderLimits())
        try:
            self._engine.open()
        except BaseException:
            self.close()
            raise

    def ask(
        self, sql: str, format_: str, parameters: Parameters, settings: Parameters | None = None
    ) -> Iterator[bytes]:
        """The result as ClickHouse formats it. Raises QueryRefused with ClickHouse's words."""
        query = ReaderQuery(sql, format_, parameters=escaped(parameters), settings=settings or {})
        try:
            body = self._engine.run(query).body
        except (Refused, QueryFailed) as error:
            raise QueryRefused(f"Code: {error.code}. DB::Exception: {error}") from None
        for start in range(0, len(body), PIECE):
            yield body[start : start + PIECE]

    def close(self) -> None:
        """Idempotent."""
        self._engine.close()
        self._lock.release()
