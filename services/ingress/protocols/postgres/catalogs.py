"""What the gateway knows of each database: read on a side connection, kept for a while, read anew after DDL.

Without it nothing is allowed that would need it: unknown functions count as volatile, and column rules mask all.
"""

import asyncio
import time
import weakref
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
from services.ingress.protocols.postgres.side import MOST, Kept, Row, Side, SideFailed
from services.ingress.upstream.postgres.database import PostgresUpstream

log = structlog.get_logger(__name__)

#: Seconds until what somebody else changed in the database is seen; DDL through this gateway is seen at once.
FRESH = 60.0
#: Seconds until a catalog that could not be read is tried again, so that a failing database is not asked each time.
AGAIN = 5.0
#: Seconds for reading it, and for one plan.
READ_TIMEOUT, PLAN_TIMEOUT = MOST, 5.0
#: The first version of PostgreSQL that plans with its parameters unknown.
_GENERIC_PLAN = 16
#: Plans kept of one database.
MAX_PLANS = 500


@dataclass
class _Known:
    asking: Kept
    catalog: Catalog | None = None
    #: What tells the catalog from any other state of the database.
    mark: list[Row] = field(default_factory=list)
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
                await self._read(target, known)
                if changes == known.changes:
                    known.until = self.clock() + (FRESH if known.catalog else AGAIN)
                if former is not known.catalog:
                    known.plans.clear()
                    if former is not None:
                        former.release()
        return known.catalog

    def changed(self, target: PostgresUpstream) -> None:
        """DDL was committed, or something may have done it: before anything else is told, the database is looked at."""
        known = self._of(target)
        known.changes += 1
        known.until = 0.0

    async def plan(self, target: PostgresUpstream, statement: Statement, search_path: str) -> Any:
        """PostgreSQL's own plan of a statement (`EXPLAIN (VERBOSE, FORMAT JSON)`); None when it cannot be had."""
        known, key = self._of(target), (statement.sql, search_path)
        if key in known.plans and self.clock() < known.until:
            return known.plans[key]
        changes = known.changes
        found = await _plan(known.asking, statement.sql, search_path)
        if changes == known.changes:
            if len(known.plans) >= MAX_PLANS:
                known.plans.popitem(last=False)
            known.plans[key] = found
        return found

    def close(self) -> None:
        """Let go of the connections."""
        for known in self._known.values():
            known.asking.close()

    def _of(self, target: PostgresUpstream) -> _Known:
        if target not in self._known:
            self._known[target] = _Known(Kept(weakref.proxy(target)))
        return self._known[target]

    async def _read(self, target: PostgresUpstream, known: _Known) -> None:
        """Read it, unless it is as it was."""

        async def question(side: Side) -> tuple[list[Row], dict[str, list[Row]]]:
            mark = await side.simple(sql.MARK)
            if known.catalog is not None and mark == known.mark:
                return mark, {}
            return mark, {name: await side.simple(query) for name, query in sql.QUERIES.items()}

        try:
            mark, rows = await known.asking.ask(question, READ_TIMEOUT)
            if rows:
                known.mark, known.catalog = mark, sql.read(target.settings.upstream.database, rows)
        except (SideFailed, ValueError) as error:
            log.warning("catalog not read", connector=target.name, reason=str(error))
            known.catalog = None


async def _plan(asking: Kept, statement: str, search_path: str) -> Any:
    """Planned with its parameters unknown (GENERIC_PLAN, PostgreSQL 16), else as it is."""

    async def question(side: Side) -> list[Row]:
        if search_path:
            quoted = search_path.replace("\\", "\\\\").replace("'", "''")
            await side.simple(f"SELECT pg_catalog.set_config('search_path', E'{quoted}', true)")
        generic = "GENERIC_PLAN, " if side.version >= _GENERIC_PLAN else ""
        return await side.simple(f"EXPLAIN (VERBOSE, {generic}FORMAT JSON) {statement}")

    try:
        rows = await asking.ask(question, PLAN_TIMEOUT)
        return orjson.loads(rows[0][0] or "null")
    except (SideFailed, ValueError, IndexError) as error:
        log.debug("no plan", reason=str(error))
        return None
