"""A GatewayError as the agent's driver reads it (PostgreSQL documentation, "PostgreSQL Error Codes").

whose doing                       SQLSTATE
no or a wrong token               28P01, which drivers take as a wrong password
a token for another connector     28000
no such connector                 3D000, no such database
policy or a person said no        42501
nobody could decide (G1, G2)      58000, nothing was forwarded
too many sessions                 53300
the gateway is going down         57P01
the database cannot be reached    08001, lost 08006, refuses our login 08004, not PostgreSQL 08P01
malformed, too large              08P01, 54000
cancelled, or its grant ended     57014
its transaction has failed        25P02
not in the session's encoding     22021
an unknown statement or portal    26000, 34000
ourselves                         XX000
"""

from schemas.events import Outcome
from services.ingress.errors import AgentError, Denied, GatewayError, NotDecided, UpstreamError
from services.ingress.protocols.postgres.codec import backend
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation

#: Which words an error has when drivers may act on it: they try again on class 08, 53 and 57.
SQLSTATES = {
    "token_scope": "28000",
    "tls_required": "28000",
    "unknown_connector": "3D000",
    "too_many_sessions": "53300",
    "shutting_down": "57P01",
    "startup_timeout": "08006",
    "startup_parameter": "42501",
    "malformed": "08P01",
    "too_large": "54000",
    "unsupported": "0A000",
    "upstream_busy": "53300",
    "upstream_starting": "57P03",
    "upstream_refused": "08001",
    "upstream_tls": "08001",
    "upstream_timeout": "08001",
    "upstream_login": "08004",
    "upstream_reset": "08006",
    "upstream_broken": "08006",
    "upstream_garbage": "08P01",
    "internal": "XX000",
    "cancelled": "57014",
    "grant_ended": "57014",
    "pipeline_failed": "57014",
    "failed_transaction": "25P02",
    "unreadable": "22021",
    "not_supported": "0A000",
    "unknown_statement": "26000",
    "unknown_portal": "34000",
    "too_many": "54000",
}

_VIOLATIONS = {"54000": "too_large", "0A000": "unsupported"}


def sqlstate(error: GatewayError) -> str:
    """The five characters for an error."""
    if found := SQLSTATES.get(error.code):
        return found
    match error:
        case AgentError(status=401):
            return "28P01"
        case Denied() | AgentError(status=403):
            return "42501"
        case NotDecided():
            return "58000"
        case UpstreamError():
            return "08006"
        case AgentError():
            return "08P01"
        case _:
            return "XX000"


def response(error: GatewayError, operation_id: str = "", severity: str = "ERROR", hint: str = "") -> bytes:
    """An ErrorResponse; its DETAIL names rule and operation, so that the agent can ask about them."""
    told = ((error.rule and f"Rule: {error.rule}."), (operation_id and f"Operation: {operation_id}."))
    return backend.report(
        backend.ERROR,
        S=severity,
        C=sqlstate(error),
        M=error.detail,
        D=" ".join(filter(None, told)),
        H=hint,
        R="countersign",
    )


def violated(violation: ProtocolViolation) -> AgentError:
    """What an agent sent is not the protocol."""
    code = _VIOLATIONS.get(violation.sqlstate, "malformed")
    return AgentError(400, code, violation.detail, Outcome.DENIED, close=True)
