"""The packets before the first message: they have a length and a number, but no kind.

+----------------+---------------+---------+
| length (Int32) | code (Int32)  | payload |      code: 3 << 16 | minor for a startup, 1234 << 16 | … else
+----------------+---------------+---------+
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.ingress.protocols.postgres.codec import limits, values
from services.ingress.protocols.postgres.codec.values import Reader
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation, too_large

CANCEL, SSL, GSSENC = (1234 << 16 | number for number in (5678, 5679, 5680))
#: The length field.
LENGTH = 4


@dataclass(frozen=True, slots=True)
class SslRequest:
    """May we speak TLS?"""

    def encode(self) -> bytes:
        """The whole packet."""
        return packet(SSL)


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    """May we speak GSSAPI encryption?"""

    def encode(self) -> bytes:
        """The whole packet."""
        return packet(GSSENC)


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Interrupt what the session with this key does."""

    process_id: int
    secret: bytes

    def __repr__(self) -> str:
        return f"CancelRequest(process_id={self.process_id})"

    def encode(self) -> bytes:
        """The whole packet."""
        return packet(CANCEL, values.word(self.process_id), self.secret)


@dataclass(frozen=True, slots=True)
class Startup:
    """Who wants to talk to which database, in which version; parameters in the order they came."""

    version: tuple[int, int]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The whole packet."""
        major, minor = self.version
        pairs = (values.text(part.encode()) for pair in self.parameters.items() for part in pair)
        return packet(major << 16 | minor, *pairs, b"\0")


Packet = SslRequest | GssEncRequest | CancelRequest | Startup


def packet(code: int, *parts: bytes) -> bytes:
    """A whole packet: length, code and payload."""
    payload = b"".join(parts)
    return values.long(len(payload) + 8) + values.long(code) + payload


def read(data: bytes) -> tuple[Packet | None, int]:
    """The first packet of what has arrived and its length, or None while it is not whole. Raises ProtocolViolation."""
    if len(data) < LENGTH:
        return None, 0
    length = Reader(data[:LENGTH]).long()
    if length < 2 * LENGTH:
        raise ProtocolViolation("a startup packet is too short")
    if length > limits.STARTUP:
        raise too_large("a startup packet", limits.STARTUP)
    if len(data) < length:
        return None, 0
    return _packet(Reader(data[LENGTH:length])), length


def _packet(reader: Reader) -> Packet:
    code = reader.long()
    match code:
        case _ if code == SSL:
            found: Packet = SslRequest()
        case _ if code == GSSENC:
            found = GssEncRequest()
        case _ if code == CANCEL:
            found = CancelRequest(reader.word(), reader.rest())
            if not 4 <= len(found.secret) <= 256:
                raise ProtocolViolation("a cancel key has 4 to 256 bytes")
        case _:
            return _startup((code >> 16, code & 0xFFFF), reader)
    reader.end()
    return found


def _startup(version: tuple[int, int], reader: Reader) -> Startup:
    if version[0] != 3:
        raise ProtocolViolation("only version 3 of the protocol is spoken here", "0A000")
    parameters: dict[str, str] = {}
    while name := reader.text():
        parameters[_decoded(name)] = _decoded(reader.text())
    reader.end()
    return Startup(version, parameters)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("a startup parameter is not UTF-8", "22021") from None
