"""Our own cancel keys: which session a CancelRequest means. The database's keys are never shown.

A key opens nothing but a cancellation, and only at the ingress that gave it out: with several copies behind a load
balancer, a CancelRequest that reaches another copy is not found there and does nothing, as PostgreSQL's docs allow.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from services.ingress.protocols.postgres.codec.backend import BackendKeyData
from services.ingress.protocols.postgres.codec.startup import CancelRequest

#: Bytes of a key's secret, before and from 3.2 on.
SHORT, LONG = 4, 32


@dataclass
class Cancels:
    """The keys of one ingress; one for each session, gone with it."""

    _sessions: dict[int, tuple[BackendKeyData, Callable[[], None]]] = field(default_factory=dict)

    def issue(self, version: tuple[int, int], cancel: Callable[[], None]) -> BackendKeyData:
        """A new key; who shows it makes `cancel` be called."""
        number = secrets.randbelow(2**31 - 1) + 1
        while number in self._sessions:
            number = secrets.randbelow(2**31 - 1) + 1
        key = BackendKeyData(number, secrets.token_bytes(LONG if version >= (3, 2) else SHORT))
        self._sessions[number] = key, cancel
        return key

    def withdraw(self, key: BackendKeyData) -> None:
        """The session has ended."""
        self._sessions.pop(key.process_id, None)

    def cancel(self, request: CancelRequest) -> bool:
        """Whether it meant a session here."""
        found = self._sessions.get(request.process_id)
        if found is None or not compare_digest(found[0].secret, request.secret):
            return False
        found[1]()
        return True
