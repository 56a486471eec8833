"""What a client says: each message as a typed object, read from a frame and written again.

`read` and `encode` are each other's inverse: what was read is written byte for byte as it came.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.ingress.protocols.postgres.codec import limits, values
from services.ingress.protocols.postgres.codec.framing import Decoder, Frame
from services.ingress.protocols.postgres.codec.values import Reader, message
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation

BIND, CLOSE, DESCRIBE, EXECUTE, PARSE = b"BCDEP"
FLUSH, SYNC, QUERY, FUNCTION_CALL, PASSWORD, TERMINATE = b"HSQFpX"
COPY_DATA, COPY_DONE, COPY_FAIL = b"dcf"

#: The largest of each kind from a client that is logged in; `p` does not come any more.
_LARGEST = {
    QUERY: limits.STATEMENT,
    PARSE: limits.STATEMENT,
    BIND: limits.VALUES,
    FUNCTION_CALL: limits.VALUES,
    COPY_DATA: limits.COPY_DATA,
} | dict.fromkeys((CLOSE, DESCRIBE, EXECUTE, FLUSH, SYNC, TERMINATE, COPY_DONE, COPY_FAIL), limits.SMALL)

#: What Describe and Close name.
STATEMENT, PORTAL = b"SP"


@dataclass(frozen=True, slots=True)
class Query:
    """A simple query: one string, any number of statements."""

    sql: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(QUERY, values.text(self.sql))


@dataclass(frozen=True, slots=True)
class Parse:
    """Prepare `sql` under a name; the empty name is the unnamed statement. Type 0 is left to the server."""

    statement: bytes
    sql: bytes
    types: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The whole message."""
        return message(PARSE, values.text(self.statement), values.text(self.sql), values.words(self.types))


@dataclass(frozen=True, slots=True)
class Bind:
    """Values for a prepared statement make a portal. Formats: none is all text, one is for all, else one each."""

    portal: bytes
    statement: bytes
    formats: tuple[int, ...] = ()
    parameters: tuple[bytes | None, ...] = ()
    results: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The whole message."""
        return message(
            BIND,
            values.text(self.portal),
            values.text(self.statement),
            values.shorts(self.formats),
            values.values(self.parameters),
            values.shorts(self.results),
        )

    def format(self, index: int) -> int:
        """The format code of one parameter: 0 text, 1 binary."""
        if len(self.formats) == 1:
            return self.formats[0]
        return self.formats[index] if self.formats else 0


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask for a statement's or portal's columns; `what` is STATEMENT or PORTAL."""

    what: int
    name: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(DESCRIBE, bytes((self.what,)), values.text(self.name))


@dataclass(frozen=True, slots=True)
class Close:
    """Forget a statement or portal; `what` is STATEMENT or PORTAL."""

    what: int
    name: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(CLOSE, bytes((self.what,)), values.text(self.name))


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a portal for at most so many rows; 0 is all."""

    portal: bytes
    rows: int = 0

    def encode(self) -> bytes:
        """The whole message."""
        return message(EXECUTE, values.text(self.portal), values.long(self.rows))


@dataclass(frozen=True, slots=True)
class Sync:
    """The end of an extended query, or of a batch of a pipeline."""

    def encode(self) -> bytes:
        """The whole message."""
        return message(SYNC)


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what there is."""

    def encode(self) -> bytes:
        """The whole message."""
        return message(FLUSH)


@dataclass(frozen=True, slots=True)
class Terminate:
    """Good-bye."""

    def encode(self) -> bytes:
        """The whole message."""
        return message(TERMINATE)


@dataclass(frozen=True, slots=True)
class CopyData:
    """A part of a COPY stream, cut anywhere."""

    data: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(COPY_DATA, self.data)


@dataclass(frozen=True, slots=True)
class CopyDone:
    """The stream is whole."""

    def encode(self) -> bytes:
        """The whole message."""
        return message(COPY_DONE)


@dataclass(frozen=True, slots=True)
class CopyFail:
    """The client gives up."""

    reason: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(COPY_FAIL, values.text(self.reason))


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The fast path: call a function by OID."""

    function: int
    formats: tuple[int, ...]
    arguments: tuple[bytes | None, ...]
    result: int

    def encode(self) -> bytes:
        """The whole message."""
        return message(
            FUNCTION_CALL,
            values.word(self.function),
            values.shorts(self.formats),
            values.values(self.arguments),
            values.short(self.result),
        )


@dataclass(frozen=True, slots=True)
class Password:
    """PasswordMessage, SASLInitialResponse, SASLResponse: which of them, the state of the handshake says."""

    data: bytes

    def __repr__(self) -> str:
        return "Password(…)"

    def encode(self) -> bytes:
        """The whole message."""
        return message(PASSWORD, self.data)


Message = (
    Query | Parse | Bind | Describe | Close | Execute | Sync | Flush | Terminate | CopyData | CopyDone | CopyFail
    | FunctionCall | Password
)  # fmt: skip


def decoder() -> Decoder:
    """For a client that is logged in."""
    return Decoder(_LARGEST)


def login_decoder() -> Decoder:
    """For a client that is asked for its password."""
    return Decoder({PASSWORD: limits.PASSWORD})


def password(secret: bytes) -> bytes:
    """PasswordMessage: cleartext, or the hash of md5."""
    return Password(values.text(secret)).encode()


def sasl_initial(mechanism: bytes, data: bytes) -> bytes:
    """SASLInitialResponse."""
    return Password(values.text(mechanism) + values.value(data)).encode()


def read(frame: Frame) -> Message:
    """The message in a frame. Raises ProtocolViolation."""
    reader = Reader(frame.payload)
    found = _READERS[frame.kind](reader)
    reader.end()
    return found


def _parse(reader: Reader) -> Parse:
    return Parse(reader.text(), reader.text(), reader.words())


def _bind(reader: Reader) -> Bind:
    bind = Bind(reader.text(), reader.text(), reader.shorts(), reader.values(), reader.shorts())
    if len(bind.formats) > 1 and len(bind.formats) != len(bind.parameters):
        raise ProtocolViolation("a Bind has formats for other than its parameters")
    if not {*bind.formats, *bind.results} <= {0, 1}:
        raise ProtocolViolation("a Bind asks for an unknown format")
    return bind


def _named(reader: Reader) -> tuple[int, bytes]:
    what = reader.byte()
    if what not in (STATEMENT, PORTAL):
        raise ProtocolViolation("a message names neither a statement nor a portal")
    return what, reader.text()


def _call(reader: Reader) -> FunctionCall:
    return FunctionCall(reader.word(), reader.shorts(), reader.values(), reader.short())


_READERS: dict[int, Callable[[Reader], Message]] = {
    QUERY: lambda reader: Query(reader.text()),
    PARSE: _parse,
    BIND: _bind,
    DESCRIBE: lambda reader: Describe(*_named(reader)),
    CLOSE: lambda reader: Close(*_named(reader)),
    EXECUTE: lambda reader: Execute(reader.text(), reader.long()),
    SYNC: lambda _: Sync(),
    FLUSH: lambda _: Flush(),
    TERMINATE: lambda _: Terminate(),
    COPY_DATA: lambda reader: CopyData(reader.rest()),
    COPY_DONE: lambda _: CopyDone(),
    COPY_FAIL: lambda reader: CopyFail(reader.text()),
    FUNCTION_CALL: _call,
    PASSWORD: lambda reader: Password(reader.rest()),
}
