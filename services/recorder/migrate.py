"""Bring the database to the schema this code was written for. Counterpart: `migrations/NNNN_name.sql`.

ClickHouse has no transactional DDL and no lock to take, so safety comes from what the files promise: every
statement is idempotent (`IF NOT EXISTS`, `OR REPLACE`, `ADD COLUMN IF NOT EXISTS`), a migration is noted only
after all its statements, and one that was cut short or run by two copies at once is simply run again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.recorder.clickhouse import Store
from services.recorder.sql_script import split_statements
from services.recorder.store_errors import StoreRejected

MIGRATIONS: Final = Path(__file__).with_name("migrations")
MIGRATION_TIMEOUT: Final = 600.0  # seconds a statement; an ALTER over a year of events is not quick

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

# ReplacingMergeTree: copies that start together both note the same version; the readers see one row of it.
_CREATE_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version UInt32,
    name String,
    checksum FixedString(64),
    applied_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY (version, checksum)
SETTINGS non_replicated_deduplication_window = 1000
"""
_READ_LEDGER: Final = "SELECT DISTINCT version, name, checksum FROM schema_migrations ORDER BY version"
# Through INSERT SELECT, so that the time is ClickHouse's and no row has to be shaped here.
_NOTE: Final = (
    "INSERT INTO schema_migrations SELECT {version}, '{name}', '{checksum}', now64(3) "
    "WHERE ({version}, '{checksum}') NOT IN (SELECT version, checksum FROM schema_migrations)"
)


class MigrationError(Exception):
    """The database and this code do not fit together; a person has to look. One line says why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its statements in order, and the SHA-256 of its bytes in hex."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def load_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Read `NNNN_name.sql` files in order.

    Raises:
        MigrationError: a name does not fit, a number is missing or taken twice, or a file cannot be split.
    """
    migrations = sorted(map(_load, directory.glob("*.sql")), key=lambda migration: migration.version)
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(f"{directory}: expected migration {expected:04}, found {migration.version:04}")
    return migrations


async def migrate(store: Store, directory: Path = MIGRATIONS) -> list[int]:
    """Apply what is missing and answer the versions that were applied.

    Raises:
        MigrationError: an applied file was changed, the database is newer than the code, or a statement fails.
        StoreUnavailable: ClickHouse cannot be asked; try again, nothing is half-noted.
    """
    migrations = load_migrations(directory)
    await store.command(_CREATE_LEDGER)
    applied = await _applied(store)
    _refuse_conflicts(migrations, applied)
    missing = [migration for migration in migrations if migration.version not in applied]
    for migration in missing:
        await _apply(store, migration)
    return [migration.version for migration in missing]


def _load(path: Path) -> Migration:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise MigrationError(f"{path}: a migration is named NNNN_lower_case_name.sql")
    content = path.read_bytes()
    try:
        statements = tuple(split_statements(content.decode()))
    except ValueError as error:
        raise MigrationError(f"{path}: {error}") from None
    if not statements:
        raise MigrationError(f"{path}: holds no statement")
    return Migration(int(match[1]), match[2], hashlib.sha256(content).hexdigest(), statements)


async def _applied(store: Store) -> Mapping[int, frozenset[str]]:
    """Every checksum noted per version: more than one means that two different codes migrated at once."""
    applied: dict[int, frozenset[str]] = {}
    for row in await store.query(_READ_LEDGER):
        version, checksum = int(row["version"]), _text(row["checksum"])
        applied[version] = applied.get(version, frozenset()) | {checksum}
    return applied


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # FixedString arrives as bytes


def _refuse_conflicts(migrations: Sequence[Migration], applied: Mapping[int, Iterable[str]]) -> None:
    known = {migration.version: migration for migration in migrations}
    for version, checksums in applied.items():
        if version not in known:
            raise MigrationError(
                f"the database has migration {version:04}, this code ends at {len(known):04}: upgrade it"
            )
        if set(checksums) != {known[version].checksum}:
            raise MigrationError(f"migration {version:04}_{known[version].name} was changed after it was applied")


async def _apply(store: Store, migration: Migration) -> None:
    for number, statement in enumerate(migration.statements, start=1):
        try:
            await store.command(statement, timeout=MIGRATION_TIMEOUT)
        except StoreRejected as error:
            where = f"migration {migration.version:04}_{migration.name}, statement {number}"
            raise MigrationError(f"{where}: {error}") from error
    await store.command(_NOTE.format(version=migration.version, name=migration.name, checksum=migration.checksum))
