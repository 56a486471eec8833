"""Whose fault it was, and what the agent is told: one tree, one mapping per protocol.

    GatewayError                the agent's request ends here; `outcome` says how it is recorded
    ├─ AgentError               the agent's doing: malformed, too large, unknown connector, no identity
    ├─ Denied                   policy or a person said no
    ├─ NotDecided               no verdict or no durable record in time: ours, and nothing was forwarded
    ├─ UpstreamError            the upstream refused, reset, hung or sent garbage
    └─ AgentGone                the agent left; nobody is told, it is recorded

An expected failure is one of these; anything else closes the session and is recorded as ours.
"""

from dataclasses import dataclass, field

from schemas.events import Outcome


@dataclass
class GatewayError(Exception):
    """`detail` is shown to the agent, so it never holds content, credentials or addresses of upstreams."""

    status: int
    code: str
    detail: str
    outcome: Outcome = Outcome.FAILED
    rule: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    #: The connection's framing can no longer be trusted.
    close: bool = False
    #: An SDK may try again by itself.
    retryable: bool = False

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class AgentError(GatewayError):
    """The agent's request cannot be served as it is."""


class Denied(GatewayError):
    """A decision against it."""


class NotDecided(GatewayError):
    """Nobody could decide, or it could not be recorded: G1 and G2 say no."""


class UpstreamError(GatewayError):
    """The other side failed."""


class AgentGone(GatewayError):
    """The agent closed the connection."""


def unauthenticated(detail: str, code: str = "unauthenticated") -> AgentError:
    """401 with the challenge of RFC 6750, section 3."""
    challenge = 'Bearer realm="countersign"'
    if code != "unauthenticated":
        challenge += ', error="invalid_token"'
    return AgentError(401, code, detail, Outcome.DENIED, headers={"WWW-Authenticate": challenge})


def not_decided(detail: str) -> NotDecided:
    """503; nothing was forwarded."""
    return NotDecided(503, "no_verdict", detail, Outcome.DENIED, headers={"Retry-After": "1"}, retryable=True)


def denied(detail: str, rules: tuple[str, ...], code: str = "denied") -> Denied:
    """403 with the deciding rule's words."""
    return Denied(403, code, detail, Outcome.DENIED, rule=", ".join(rules))
