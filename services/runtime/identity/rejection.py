"""Why a token was refused: one exception, with a code from a closed set."""

from enum import StrEnum


class RejectionCode(StrEnum):
    """What was wrong. Stable: metrics and the audit count by it."""

    MALFORMED = "malformed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_AUDIENCE = "wrong_audience"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    ALGORITHM = "algorithm"
    CLAIMS = "claims"
    #: The only one that is not the caller's fault: the issuer's keys could not be had.
    ISSUER_UNAVAILABLE = "issuer_unavailable"


class TokenRejected(Exception):
    """The token does not count. `detail` is fit for logs, the audit and the caller: it never quotes the token."""

    def __init__(self, code: RejectionCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    @property
    def retryable(self) -> bool:
        """Whether the same token may count later with nothing changed but the issuer's health (answer 503)."""
        return self.code is RejectionCode.ISSUER_UNAVAILABLE
