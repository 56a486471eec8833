"""The rules on a verified token's claims: when it counts and for whom (RFC 7519, section 4.1).

Pure: the time is a parameter. `mapping.py` turns claims that passed into an identity.
"""

from collections.abc import Mapping
from typing import Any

from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings

Claims = Mapping[str, Any]


def check_claims(claims: Claims, settings: IssuerSettings, now: float) -> None:
    """Return if the token counts now, here. `now` is in seconds since the epoch. Raises TokenRejected:
    expired, not_yet_valid, wrong_audience or claims."""
    check_audience(claims, settings.audiences)
    check_times(claims, now, settings.leeway)
    for path, allowed in settings.required.items():
        check_required(claims, path, (allowed,) if isinstance(allowed, str) else allowed)


def check_audience(claims: Claims, accepted: frozenset[str]) -> None:
    """RFC 7519, section 4.1.3: `aud` must name us, and it must be there (RFC 8725, section 3.9)."""
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(isinstance(one, str) and one in accepted for one in named):
        raise TokenRejected(RejectionCode.WRONG_AUDIENCE, f"the token is not for {' or '.join(sorted(accepted))}")


def check_times(claims: Claims, now: float, leeway: float) -> None:
    """`exp` is required here, `nbf` and `iat` count where given (RFC 7519, sections 4.1.4 to 4.1.6)."""
    expires = expiry(claims)
    not_before, issued = _instant(claims, "nbf"), _instant(claims, "iat")
    if now >= expires + leeway:
        raise TokenRejected(RejectionCode.EXPIRED, "the token has expired")
    if not_before is not None and now < not_before - leeway:
        raise TokenRejected(RejectionCode.NOT_YET_VALID, "the token is not valid yet")
    if issued is not None and now < issued - leeway:
        raise TokenRejected(RejectionCode.NOT_YET_VALID, "the token was issued in the future")
    if issued is not None and issued > expires:
        raise TokenRejected(RejectionCode.CLAIMS, "the token expired before it was issued")


def expiry(claims: Claims) -> float:
    """`exp`, in seconds since the epoch. Raises TokenRejected: claims."""
    expires = _instant(claims, "exp")
    if expires is None:
        raise TokenRejected(RejectionCode.CLAIMS, "the token has no expiry (exp)")
    return expires


def _instant(claims: Claims, name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2). JSON has no NaN and no infinity, and a bool is not a number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejected(RejectionCode.CLAIMS, f"{name} is not a number")
    return float(value)


def check_required(claims: Claims, path: str, allowed: tuple[str, ...]) -> None:
    """The claim must be one of the allowed strings, or a list with one of them in it."""
    value = lookup(claims, path)
    values = value if isinstance(value, list) else [value]
    if not any(isinstance(one, str) and one in allowed for one in values):
        raise TokenRejected(RejectionCode.CLAIMS, f"the token's {path} is not one that is accepted")


def lookup(claims: Claims, path: str) -> Any:
    """The claim of that name, else the value at that dotted path, else None.

    The whole name goes first because namespaced names hold dots: `https://example.com/groups`.
    """
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value
