"""From checked claims to an `Identity`: which claim tells the groups, the kind, the owner.

Pure. What cannot be mapped rejects the token: a missing group could be the one that a rule denies.
"""

from typing import Any, get_args

from pydantic import ValidationError

from schemas.identity import Identity
from services.runtime.identity.claims import Claims, lookup
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import ClaimMapping, IssuerSettings, Kind

#: OpenID Connect Core, section 2 limits `sub` to 255 characters; nothing else that names somebody is longer.
MAX_NAME = 255

#: Claims about the token and not about its bearer. `jti` stays: it tells in the audit which token it was.
_ENVELOPE_CLAIMS = frozenset({"iss", "aud", "exp", "nbf", "iat", "nonce", "at_hash", "c_hash", "s_hash"})

_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


def map_identity(claims: Claims, settings: IssuerSettings) -> Identity:
    """The identity that checked claims describe. Raises TokenRejected: claims."""
    mapping = settings.claims
    try:
        return Identity(
            subject=_name(claims, mapping.subject, required=True),
            issuer=settings.issuer,
            email=_email(claims, mapping.email),
            groups=_groups(claims, mapping),
            kind=_kind(claims, settings),
            owner=_name(claims, mapping.owner),
            connector=_name(claims, mapping.connector) or None,
            claims={name: value for name, value in claims.items() if name not in _ENVELOPE_CLAIMS},
        )
    except ValidationError as error:
        fields = ", ".join(str(part) for problem in error.errors() for part in problem["loc"])
        raise _rejected(f"the token's {fields} cannot be used") from None


def _name(claims: Claims, path: str | None, *, required: bool = False) -> str:
    """One printable name, or an empty string if there is no such claim and none is required."""
    value = None if path is None else lookup(claims, path)
    if value in (None, "") and not required:
        return ""
    return _printable(value, f"the token's {path}")


def _printable(value: Any, what: str) -> str:
    """Names stand in log lines and in messages to approvers: no line breaks, no invisible characters."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise _rejected(f"{what} is not a printable string of 1 to {MAX_NAME} characters")
    return value


def _email(claims: Claims, path: str) -> str:
    """The address, unless the issuer says that nobody verified it (OpenID Connect Core, section 5.1)."""
    if claims.get("email_verified") in (False, "false"):
        return ""
    return _name(claims, path)


def _groups(claims: Claims, mapping: ClaimMapping) -> tuple[str, ...]:
    if not isinstance(mapping.groups, str):
        return mapping.groups
    # OpenID Connect Core, section 5.6.2: a directory with too many groups for a token names a place to ask
    # instead. Taking that for "no groups" would pass by every rule that denies one.
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, dict) and mapping.groups.split(".")[0] in elsewhere:
        raise _rejected("the issuer left the groups out because there are too many; send fewer or app roles")
    value = lookup(claims, mapping.groups)
    if value is None:
        return ()
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list):
        raise _rejected(f"the token's {mapping.groups} is neither a list nor a string")
    return tuple(_printable(name, "a group") for name in names)


def _kind(claims: Claims, settings: IssuerSettings) -> Kind:
    """What the mapped claim says. An unknown value rejects: the default could make a robot a person."""
    path = settings.claims.kind
    value = None if path is None else lookup(claims, path)
    if value is None:
        return settings.kind
    known = _KINDS | settings.kinds
    if not isinstance(value, str) or value not in known:
        raise _rejected(f"the token's {path} is none of the known kinds")
    return known[value]


def _rejected(detail: str) -> TokenRejected:
    return TokenRejected(RejectionCode.CLAIMS, detail)
