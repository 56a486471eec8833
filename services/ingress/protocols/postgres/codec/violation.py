"""What is wrong with a message: one error for both directions; who sent it is known by whose decoder raised it."""

from dataclasses import dataclass

PROTOCOL_VIOLATION = "08P01"
PROGRAM_LIMIT_EXCEEDED = "54000"


@dataclass
class ProtocolViolation(Exception):
    """Bytes that are not the protocol; the stream cannot be trusted any more. `detail` holds no content."""

    detail: str
    sqlstate: str = PROTOCOL_VIOLATION

    def __str__(self) -> str:
        return self.detail


def too_large(what: str, limit: int) -> ProtocolViolation:
    """A message beyond its named limit."""
    return ProtocolViolation(f"{what} is larger than {limit} bytes", PROGRAM_LIMIT_EXCEEDED)
