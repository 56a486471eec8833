"""What `countersign.yaml` says under `identity.issuers`: whose tokens count, and which claims mean what.

Its counterpart is `verifier.py`, which turns each entry into an issuer that it verifies tokens of.
"""

from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

#: RFC 8725, section 3.1: the algorithms that may be used are an explicit list. Never `none`, and never an
#: HMAC: its key would be one that everybody who verifies could also sign with.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]

Kind = Literal["agent", "human", "service"]

#: RFC 7519, section 4.1.4 allows "no more than a few minutes" for clock skew.
MAX_LEEWAY = 300.0


def is_loopback(url: str) -> bool:
    """Whether the URL's host can only be this machine (`localhost`: RFC 6761, section 6.3)."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _secure_url(value: str) -> str:
    """An absolute https URL (http only on this machine) without credentials, query and fragment."""
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("write an absolute URL such as https://idp.example.com")
    if parts.scheme == "http" and not is_loopback(value):
        raise ValueError("use https: over plain http anybody on the way can put in keys of their own")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("write the URL without user, query and fragment")
    return value


#: OpenID Connect Discovery 1.0, section 3: an issuer is an https URL with no query and no fragment.
IssuerUrl = Annotated[str, AfterValidator(_secure_url)]

#: A claim's name, or the way to it through nested objects: `realm_access.roles`.
ClaimPath = Annotated[str, Field(min_length=1, max_length=256)]


#: Issuers that give a token for any audience to anybody who has an account with them. What such a token
#: proves is only whose account it was, so `required` must say whose count.
PUBLIC_ISSUERS = frozenset(
    {
        "https://token.actions.githubusercontent.com",
        "https://accounts.google.com",
        "https://gitlab.com",
        "https://app.terraform.io",
        "https://agent.buildkite.com",
    }
)


class _Section(BaseModel):
    """Base of this module: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClaimMapping(_Section):
    """Which claim tells what. A path is first tried as one whole name, because some names contain dots."""

    #: A path to a list of names or to one string that is split on spaces; or the names themselves, which
    #: everybody with a token of this issuer then has.
    groups: ClaimPath | tuple[str, ...] = "groups"
    email: ClaimPath = "email"
    #: `agent`, `human` or `service`, or a value that `kinds` translates; None uses the issuer's `kind`.
    kind: ClaimPath | None = None
    #: The subject of the person who owns a service account.
    owner: ClaimPath | None = None
    subject: ClaimPath = "sub"
    #: The one connector the token may be used with. Nothing but the local issuer maps it by itself.
    connector: ClaimPath | None = None


class IssuerSettings(_Section):
    """One issuer whose tokens count."""

    #: Must equal the tokens' `iss` and the discovery document's `issuer`, character by character.
    issuer: IssuerUrl
    #: The token must be for one of these (`aud`, RFC 7519, section 4.1.3).
    audience: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] = "countersign"
    claims: ClaimMapping = ClaimMapping()
    #: Where the keys are, for an issuer without a discovery document.
    jwks_uri: IssuerUrl | None = None
    #: Narrows the algorithms; None allows every one of `Algorithm`.
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] | None = None
    #: A PEM bundle that the issuer's certificate is verified with, instead of the system's.
    ca: Path | None = None
    #: Seconds by which the issuer's clock and ours may differ.
    leeway: Annotated[float, Field(ge=0, le=MAX_LEEWAY)] = 30.0
    #: Claims that must have one of these values; a list claim must contain one.
    required: dict[ClaimPath, str | tuple[str, ...]] = Field(default_factory=dict)
    #: What a token of this issuer is, if it has no claim that says so.
    kind: Kind = "agent"
    #: Translates the values of the `kind` claim: `{app: agent, user: human}`.
    kinds: dict[str, Kind] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_whose_tokens_count(self) -> Self:
        if self.issuer in PUBLIC_ISSUERS and not self.required:
            raise ValueError("anybody can get tokens of this issuer: say under `required` whose tokens count")
        return self

    @cached_property
    def audiences(self) -> frozenset[str]:
        """`audience` as a set."""
        return frozenset((self.audience,) if isinstance(self.audience, str) else self.audience)
