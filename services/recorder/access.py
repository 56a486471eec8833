"""Who may read the record over the embedded endpoint: the user `auditor`, or whoever shows a reader's token.

Counterpart: readonly_http.py asks; services/runtime/identity verifies tokens. A token is taken as a bearer token or as
the password, because not every ClickHouse client can send the former.
"""

import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog

from services.recorder.reader_request import Credentials
from services.runtime.identity.rejection import TokenRejected
from services.runtime.identity.verifier import TokenVerifier

log = structlog.get_logger(__name__)

#: The user whose password stands in the data directory.
AUDITOR: Final = "auditor"


def authenticator(
    password: str, verifier: TokenVerifier, readers: Collection[str]
) -> Callable[[Credentials], Awaitable[str | None]]:
    """Answers a reader's name, or None. `readers` are the groups whose tokens count."""

    async def authenticate(credentials: Credentials) -> str | None:
        if credentials.user == AUDITOR and secrets.compare_digest(credentials.password.encode(), password.encode()):
            return AUDITOR
        token = credentials.token or credentials.password
        try:
            identity = await verifier.verify(token)
        except TokenRejected as rejected:
            log.info("reader rejected", code=rejected.code)
            return None
        # A token for one connector is for an agent's work there, not for reading what all of them did.
        if identity.connector is not None or not set(readers).intersection(identity.groups):
            log.info("reader rejected", code="not_a_reader", subject=identity.subject)
            return None
        return identity.email or identity.subject

    return authenticate
