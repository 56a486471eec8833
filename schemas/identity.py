"""Who is asking: what is left of a verified token. The token itself never leaves the process that verified it."""

from pydantic import Field

from schemas.base import Contract, Json, Name


class Identity(Contract):
    """A verified caller.

    `subject` and `issuer` are the token's `sub` and `iss` (RFC 7519, sections 4.1.1 and 4.1.2) and together name
    one identity; everything else describes it.
    """

    subject: str
    issuer: str
    email: str = ""
    #: Group names, as the issuer's claim mapping found them.
    groups: tuple[str, ...] = ()
    #: `agent`, `human` or `service`; what the issuer's mapping says, else `agent`.
    kind: str = "agent"
    #: The subject of the person who owns a service account (`owner` claim), or empty.
    owner: str = ""
    #: The one connector this token may be used with, or None for any.
    connector: Name | None = None
    #: All other claims that policy may look at; never the token, never its signature.
    claims: Json = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """`issuer#subject`: equal for the same identity whatever token it shows."""
        return f"{self.issuer}#{self.subject}"
