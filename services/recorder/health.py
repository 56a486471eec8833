"""Whether ClickHouse answers, for readiness: asked now and then, beside the inserts."""

import asyncio
from typing import Final

from services.recorder.clickhouse import Store
from services.recorder.store_errors import StoreError

#: Seconds between two questions, and what an answer may take.
_INTERVAL: Final = 5.0


class StoreHealth:
    """The last answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._problem: str | None = "not asked yet"

    def check(self) -> bool | str:
        """True, or what is wrong."""
        return self._problem or True

    async def keep_asking(self) -> None:
        """Ask again and again."""
        while True:
            await self.ask()
            await asyncio.sleep(_INTERVAL)

    async def ask(self) -> None:
        """Ask once."""
        try:
            await self._store.query("SELECT 1", timeout=_INTERVAL)
            self._problem = None
        except StoreError as error:
            self._problem = " ".join(str(error).split())[:200] or "does not answer"
