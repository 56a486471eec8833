"""What the gateway knows of each database: read on a side connection, kept for a while, read anew after DDL.

Without it nothing is allowed that would need it: unknown functions count as volatile, and column rules mask all.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import structlog

from services.ingress.classify.sql import catalog as sql
from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.statements import Statement
from services.ingress.protocols.postgres.side import SideFailed, beside
from services.ingress.upstream.postgres.database import PostgresUpstream

log = structlog.get_logger(__name__)

#: Seconds until what somebody else changed in the database is seen; DDL through this gateway is seen at once.
FRESH = 60.0
#: Seconds until a catalog that could not be read is tried again, so that a failing database is not asked each time.
AGAIN = 5.0
#: Seconds for reading it, and for one plan.
READ_TIMEOUT, PLAN_TIMEOUT = 10.0, 5.0
#: Plans kept of one database.
MAX_PLANS = 500


@dataclass
class _Known:
    catalog: Catalog | None = None
    until: float = 0.0
    #: Changes heard of: what was read before one is not kept.
    changes: int = 0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    plans: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict)


@dataclass
class Catalogs:
    """The catalogs of one ingress."""

    clock: Callable[[], float] = time.monotonic
    _known: WeakKeyDictionary[PostgresUpstream, _Known] = field(default_factory=WeakKeyDictionary)

    async def of(self, target: PostgresUpstream) -> Catalog | None:
        """A database's catalog; None when it cannot be read now."""
        known = self._of(target)
        if self.clock() < known.until:
            return known.catalog
        async with known.reading:
            if self.clock() >= known.until:
                changes, former = known.changes, known.catalog
                known.catalog = await self._read(target)
                if changes == known.changes:
                    known.until = self.clock() + (FRESH if known.catalog else AGAIN)
                known.plans.clear()
                if former is not None:
                    former.release()
        return known.catalog

    def changed(self, target: PostgresUpstream) -> None:
        """DDL was committed."""
        known = self._of(target)
        known.changes += 1
        known.until = 0.0
        known.plans.clear()

    async def plan(self, target: PostgresUpstream, statement: Statement, search_path: str) -> Any:
        """PostgreSQL's own plan of a statement (`EXPLAIN (VERBOSE, FORMAT JSON)`); None when it cannot be had."""
        known, key = self._of(target), (statement.sql, search_path)
        if key in known.plans:
            return known.plans[key]
        changes = known.changes
        found = await _plan(target, statement.sql, search_path)
        if changes == known.changes:
            if len(known.plans) >= MAX_PLANS:
                known.plans.popitem(last=False)
            known.plans[key] = found
        return found

    def _of(self, target: PostgresUpstream) -> _Known:
        return self._known.setdefault(target, _Known())

    async def _read(self, target: PostgresUpstream) -> Catalog | None:
        try:
            async with beside(target, READ_TIMEOUT) as side:
                rows = {name: await side.simple(query) for name, query in sql.QUERIES.items()}
            return sql.read(target.settings.upstream.database, rows)
        except (SideFailed, ValueError) as error:
            log.warning("catalog not read", connector=target.name, reason=str(error))
            return None


async def _plan(target: PostgresUpstream, statement: str, search_path: str) -> Any:
    """Planned with its parameters unknown (GENERIC_PLAN, PostgreSQL 16), else as it is."""
    settings = {"search_path": search_path} if search_path else {}
    for options in ("VERBOSE, GENERIC_PLAN, FORMAT JSON", "VERBOSE, FORMAT JSON"):
        try:
            async with beside(target, PLAN_TIMEOUT, settings) as side:
                rows = await side.simple(f"EXPLAIN ({options}) {statement}")
            return orjson.loads(rows[0][0] or "null")
        except (SideFailed, ValueError, IndexError) as error:
            log.debug("no plan", connector=target.name, reason=str(error))
    return None
