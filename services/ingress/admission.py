"""Who is this? From the token an agent shows to an `Identity`, and whether it may use the connector at all."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from schemas.identity import Identity
from services.ingress.errors import AgentError, not_decided, unauthenticated
from services.runtime.identity.rejection import TokenRejected
from services.runtime.identity.verifier import TokenVerifier

#: RFC 9110, section 11.4: the scheme is case-insensitive.
_BEARER = "bearer "


@dataclass(frozen=True)
class Admission:
    """Verifies tokens for every protocol of this ingress."""

    verifier: TokenVerifier

    async def admit(self, token: str | None) -> Identity:
        """The identity behind a token. Raises AgentError (401), or NotDecided while the issuer is away."""
        if not token:
            raise unauthenticated("show a token: Authorization: Bearer, X-Api-Key or Countersign-Token")
        if identity := self.verifier.cached(token):
            return identity
        try:
            return await self.verifier.verify(token)
        except TokenRejected as error:
            if error.retryable:
                raise not_decided("the token's issuer cannot be reached to verify it") from error
            raise unauthenticated(error.detail, code=f"token_{error.code}") from error

    @asynccontextmanager
    async def while_good(self, token: str) -> AsyncIterator[None]:
        """For what goes on for long: it is cancelled, and AgentError raised, once the admitted token has expired."""
        try:
            async with asyncio.timeout(self.verifier.time_left(token)) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise unauthenticated("the token has expired", code="token_expired") from None


def check_scope(identity: Identity, connector: str) -> None:
    """A token scoped to one connector opens no other. Raises AgentError (403)."""
    if identity.connector is not None and identity.connector != connector:
        raise AgentError(403, "token_scope", "this token is for another connector", rule="token-scope")


def token_in(fields: Mapping[str, str]) -> str | None:
    """The token in HTTP fields: `Countersign-Token`, else `Authorization: Bearer`, else `X-Api-Key`."""
    if token := fields.get("Countersign-Token"):
        return token.strip()
    authorization = fields.get("Authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return fields.get("X-Api-Key", "").strip() or None
