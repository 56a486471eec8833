"""The keys of sessions: random, one per session and stream, in ClickHouse before anything is sealed by them.

    keys in doubt?   a writer that died may have inserted keys and no rows, or its insert may still arrive: so keys go
    in under the token of the claimed range, and what is used is what is read back afterwards, never what was made here.

An erased session stays erased: it has no key, and of what is recorded of it later no content is stored (sealing.py).
Counterpart: the dictionary `keyring`, by which the views look the same keys up (docs/adr/0010-content-under-keys.md).
"""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from schemas.base import new_id
from services.recorder.clickhouse import Store
from services.recorder.content import KEY_BYTES
from services.recorder.rows import Rows
from services.recorder.sealing import NO_KEY, sealed, sessions
from services.recorder.store_address import ServerAddress
from services.recorder.store_errors import StoreUnavailable
from services.recorder.tables import SESSION_KEYS

#: Sessions in one question: their ids travel in the address of an HTTP request, which ClickHouse bounds at 1 MiB.
_AT_ONCE: Final = 2_000
#: Inserts of keys before something else must be wrong.
_ATTEMPTS: Final = 4

_KNOWN: Final = """
SELECT session_id, hex(min(key)) AS key FROM session_keys
WHERE stream = {stream:String} AND session_id IN {sessions:Array(String)} GROUP BY session_id
"""
_ERASED: Final = "SELECT DISTINCT session_id FROM erasures WHERE session_id IN {sessions:Array(String)}"

_DICTIONARY: Final = """
CREATE OR REPLACE DICTIONARY keyring (session_id String, stream String, key String)
PRIMARY KEY session_id, stream
SOURCE(CLICKHOUSE(TABLE 'session_keys' USER {user} PASSWORD {password}))
LIFETIME(MIN 30 MAX 60)
LAYOUT(COMPLEX_KEY_CACHE(SIZE_IN_CELLS 262144))
"""


class Keyring:
    """Finds and makes keys. One writer per stream uses it, the one with the seat."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self) -> None:
        """Let the dictionary ask with our account: a server's default one may want a password. Raises StoreError."""
        address = self._store.address
        if isinstance(address, ServerAddress) and (address.password or address.user != "default"):
            await self._store.command(
                _DICTIONARY.format(user=_literal(address.user), password=_literal(address.password))
            )

    async def sealed(self, rows: Rows, stream: str, token: str) -> Rows:
        """The rows with their content sealed; `token` names the claimed range. Raises StoreError."""
        return sealed(rows, await self.keys(sessions(rows), stream, token))

    async def keys(self, wanted: Sequence[str], stream: str, token: str) -> dict[str, bytes]:
        """A key for each session; NO_KEY for those that were erased. Raises StoreError."""
        keys: dict[str, bytes] = {}
        for number, part in enumerate(_parts(wanted)):
            keys |= await self._keys(part, stream, f"{token}:session_keys:{number}")
        return keys

    async def _keys(self, wanted: Sequence[str], stream: str, token: str) -> dict[str, bytes]:
        erased = {row["session_id"] for row in await self._store.query(_ERASED, {"sessions": list(wanted)})}
        keys = dict.fromkeys(erased, NO_KEY)
        living = [session for session in wanted if session not in erased]
        for _ in range(_ATTEMPTS):
            keys |= await self._known(living, stream)
            missing = [session for session in living if session not in keys]
            if not missing:
                return keys
            rows = [(session, stream, os.urandom(KEY_BYTES)) for session in missing]
            await self._store.insert(SESSION_KEYS.name, rows, SESSION_KEYS.columns, token)
            # Had the token been noted before, without its rows or for other ones, the next attempt needs a fresh one.
            token = f"{token}:{new_id()}"
        raise StoreUnavailable(f"{len(missing)} keys were inserted and are not there")

    async def _known(self, wanted: Sequence[str], stream: str) -> dict[str, bytes]:
        if not wanted:
            return {}
        rows = await self._store.query(_KNOWN, {"stream": stream, "sessions": list(wanted)})
        return {row["session_id"]: bytes.fromhex(row["key"]) for row in rows}


def _parts(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
