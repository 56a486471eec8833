"""What a grant covers, in a sentence that every channel, the command and the API show alike. Pure."""

from schemas.approvals import Grant
from services.approver.record import Held

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def scope(grant: Grant) -> str:
    """Of a grant in force."""
    who = _sentence(grant.subject, grant.issuer, grant.rule, grant.connector)
    return f"{who}, until {grant.expires_at:%Y-%m-%d %H:%M:%S} UTC{_at_most(grant.max_uses)}"


def offered(record: Held, seconds: float) -> str:
    """Of the grant that a yes would give now."""
    request = record.request
    who = _sentence(request.identity.subject, request.identity.issuer, record.rules[0], request.connector.name)
    return f"{who}, for {duration(seconds)}{_at_most(request.terms.max_uses)}"


def duration(seconds: float) -> str:
    """`1 h`, `15 min`, `90 s`: in the largest unit that gives a whole number."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def _sentence(subject: str, issuer: str, rule: str, connector: str) -> str:
    return f"whatever the rule {rule} asks about from {subject} (of {issuer}) on {connector}"


def _at_most(uses: int) -> str:
    return f", at most {uses} time{'s' if uses != 1 else ''}" if uses else ""
