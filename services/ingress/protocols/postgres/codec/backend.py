"""What a server says: each message as a typed object, read from a frame and written again.

`read` and `encode` are each other's inverse: what was read is written byte for byte as it came.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.ingress.protocols.postgres.codec import limits, values
from services.ingress.protocols.postgres.codec.framing import Decoder, Frame
from services.ingress.protocols.postgres.codec.values import Bytes, Reader, message
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation

AUTHENTICATION, KEY_DATA, PARAMETER_STATUS, NEGOTIATE, READY = b"RKSvZ"
ERROR, NOTICE, NOTIFICATION = b"ENA"
PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE = b"123"
ROW_DESCRIPTION, DATA_ROW, NO_DATA, PARAMETER_DESCRIPTION = b"TDnt"
COMMAND_COMPLETE, EMPTY_QUERY, PORTAL_SUSPENDED, FUNCTION_RESULT = b"CIsV"
COPY_IN, COPY_OUT, COPY_BOTH, COPY_DATA, COPY_DONE = b"GHWdc"

#: Kinds of Authentication that the gateway knows.
OK, CLEARTEXT, MD5, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 5, 10, 11, 12

_SMALL = (
    AUTHENTICATION, KEY_DATA, NEGOTIATE, READY, PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA,
    COMMAND_COMPLETE, EMPTY_QUERY, PORTAL_SUSPENDED, COPY_IN, COPY_OUT, COPY_BOTH, COPY_DONE,
)  # fmt: skip
_LARGEST = (
    dict.fromkeys(_SMALL, limits.SMALL)
    | dict.fromkeys((ROW_DESCRIPTION, PARAMETER_DESCRIPTION, PARAMETER_STATUS), limits.DESCRIPTION)
    | dict.fromkeys((ERROR, NOTICE, NOTIFICATION, FUNCTION_RESULT), limits.REPORT)
    | dict.fromkeys((DATA_ROW, COPY_DATA), limits.BULK)
)


@dataclass(frozen=True, slots=True)
class Authentication:
    """A request for credentials, or OK; `data` is a salt, mechanisms or SASL's words."""

    code: int
    data: bytes = b""

    def encode(self) -> bytes:
        """The whole message."""
        return message(AUTHENTICATION, values.long(self.code), self.data)


@dataclass(frozen=True, slots=True)
class BackendKeyData:
    """What a CancelRequest has to show; 4 bytes in 3.0, up to 256 in 3.2."""

    process_id: int
    secret: bytes

    def __repr__(self) -> str:
        return f"BackendKeyData(process_id={self.process_id})"

    def encode(self) -> bytes:
        """The whole message."""
        return message(KEY_DATA, values.word(self.process_id), self.secret)


@dataclass(frozen=True, slots=True)
class ParameterStatus:
    """A setting that the client should know, and its value from now on."""

    name: bytes
    value: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(PARAMETER_STATUS, values.text(self.name), values.text(self.value))


@dataclass(frozen=True, slots=True)
class NegotiateProtocolVersion:
    """The newest version the server speaks (3 << 16 | minor), and the options it does not know."""

    version: int
    unknown: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """The whole message."""
        listed = b"".join(map(values.text, self.unknown))
        return message(NEGOTIATE, values.long(self.version), values.long(len(self.unknown)), listed)


@dataclass(frozen=True, slots=True)
class ReadyForQuery:
    """`I` idle, `T` in a transaction, `E` in a failed one."""

    status: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(READY, self.status)


@dataclass(frozen=True, slots=True)
class Report:
    """ErrorResponse or NoticeResponse (`kind`): fields in the order they came, by their letters."""

    kind: int
    fields: tuple[tuple[int, bytes], ...]

    def __getitem__(self, letter: str) -> bytes:
        """A field such as `report["C"]`, or nothing."""
        return next((value for code, value in self.fields if code == ord(letter)), b"")

    def encode(self) -> bytes:
        """The whole message."""
        return message(self.kind, *(bytes((code,)) + values.text(value) for code, value in self.fields), b"\0")


@dataclass(frozen=True, slots=True)
class Notification:
    """NOTIFY's words, from the process that said them."""

    process_id: int
    channel: bytes
    payload: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(NOTIFICATION, values.word(self.process_id), values.text(self.channel), values.text(self.payload))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a RowDescription. `table` and `number` are 0 where it is no plain column of a table."""

    name: bytes
    table: int
    number: int
    type: int
    size: int
    modifier: int
    #: 0 text, 1 binary; not known yet (0) in the description of a statement.
    format: int

    def encode(self) -> bytes:
        """Its part of the message."""
        return b"".join(
            (
                values.text(self.name),
                values.word(self.table),
                values.short(self.number),
                values.word(self.type),
                values.short(self.size),
                values.long(self.modifier),
                values.short(self.format),
            )
        )


@dataclass(frozen=True, slots=True)
class RowDescription:
    """The columns of a result. `size` and `number` are read as unsigned; a negative one is its complement."""

    columns: tuple[Column, ...]

    def encode(self) -> bytes:
        """The whole message."""
        return message(ROW_DESCRIPTION, values.short(len(self.columns)), *(column.encode() for column in self.columns))


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """The types of a statement's parameters."""

    types: tuple[int, ...]

    def encode(self) -> bytes:
        """The whole message."""
        return message(PARAMETER_DESCRIPTION, values.words(self.types))


@dataclass(frozen=True, slots=True)
class CommandComplete:
    """A statement has ended; the tag says which and how many rows."""

    tag: bytes

    def encode(self) -> bytes:
        """The whole message."""
        return message(COMMAND_COMPLETE, values.text(self.tag))

    @property
    def rows(self) -> int:
        """Rows read or written; 0 where the tag counts none."""
        last = self.tag.rpartition(b" ")[2]
        return int(last) if last.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Copy:
    """CopyInResponse, CopyOutResponse or CopyBothResponse (`kind`): the whole format, and each column's."""

    kind: int
    format: int
    columns: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The whole message."""
        return message(self.kind, bytes((self.format,)), values.shorts(self.columns))


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """What the fast path's function returned."""

    value: bytes | None

    def encode(self) -> bytes:
        """The whole message."""
        return message(FUNCTION_RESULT, values.value(self.value))


@dataclass(frozen=True, slots=True)
class DataRow:
    """One row; bulk, so that decoders give it in runs and `row` reads it."""

    values: tuple[bytes | None, ...]

    def encode(self) -> bytes:
        """The whole message."""
        return message(DATA_ROW, values.values(self.values))


@dataclass(frozen=True, slots=True)
class Bare:
    """A message that is nothing but its kind, such as NO_DATA."""

    kind: int

    def encode(self) -> bytes:
        """The whole message."""
        return message(self.kind)


Message = (
    Authentication | BackendKeyData | ParameterStatus | NegotiateProtocolVersion | ReadyForQuery | Report | Notification
    | RowDescription | ParameterDescription | CommandComplete | Copy | FunctionResult | DataRow | Bare
)  # fmt: skip


def decoder() -> Decoder:
    """For a server."""
    return Decoder(_LARGEST, frozenset((DATA_ROW, COPY_DATA)))


def report(kind: int, **fields: str) -> bytes:
    """An error or notice of our own: `report(ERROR, S="ERROR", C="42501", M="…")`; empty fields are left out."""
    told = {"S": fields.pop("S"), "V": fields.pop("V", ""), **fields}
    told["V"] = told["V"] or told["S"]
    return Report(
        kind,
        tuple((ord(letter), text.replace("\0", "").encode()) for letter, text in told.items() if text),
    ).encode()


def row(payload: Bytes) -> tuple[bytes | None, ...]:
    """A DataRow's values. Raises ProtocolViolation."""
    reader = Reader(payload)
    found = reader.values()
    reader.end()
    return found


def read(frame: Frame) -> Message:
    """The message in a frame. Raises ProtocolViolation."""
    reader = Reader(frame.payload)
    found = _READERS[frame.kind](reader) if frame.kind in _READERS else Bare(frame.kind)
    reader.end()
    return found


def _authentication(reader: Reader) -> Authentication:
    return Authentication(reader.long(), reader.rest())


def _negotiate(reader: Reader) -> NegotiateProtocolVersion:
    version, count = reader.long(), reader.long()
    if not 0 <= count <= limits.SMALL:
        raise ProtocolViolation("a server counts options wrongly")
    return NegotiateProtocolVersion(version, tuple(reader.text() for _ in range(count)))


def _key(reader: Reader) -> BackendKeyData:
    key = BackendKeyData(reader.word(), reader.rest())
    if not 4 <= len(key.secret) <= 256:
        raise ProtocolViolation("a cancel key has 4 to 256 bytes")
    return key


def _ready(reader: Reader) -> ReadyForQuery:
    status = reader.take(1)
    if status not in (b"I", b"T", b"E"):
        raise ProtocolViolation("a server is ready in an unknown state")
    return ReadyForQuery(status)


def _fields(reader: Reader) -> tuple[tuple[int, bytes], ...]:
    found = []
    while code := reader.byte():
        found.append((code, reader.text()))
    return tuple(found)


def _column(reader: Reader) -> Column:
    return Column(
        reader.text(), reader.word(), reader.short(), reader.word(), reader.short(), reader.long(), reader.short()
    )


def _copy(kind: int) -> Callable[[Reader], Copy]:
    return lambda reader: Copy(kind, reader.byte(), reader.shorts())


_READERS: dict[int, Callable[[Reader], Message]] = {
    AUTHENTICATION: _authentication,
    KEY_DATA: _key,
    PARAMETER_STATUS: lambda reader: ParameterStatus(reader.text(), reader.text()),
    NEGOTIATE: _negotiate,
    READY: _ready,
    ERROR: lambda reader: Report(ERROR, _fields(reader)),
    NOTICE: lambda reader: Report(NOTICE, _fields(reader)),
    NOTIFICATION: lambda reader: Notification(reader.word(), reader.text(), reader.text()),
    ROW_DESCRIPTION: lambda reader: RowDescription(tuple(_column(reader) for _ in range(reader.short()))),
    PARAMETER_DESCRIPTION: lambda reader: ParameterDescription(reader.words()),
    COMMAND_COMPLETE: lambda reader: CommandComplete(reader.text()),
    COPY_IN: _copy(COPY_IN),
    COPY_OUT: _copy(COPY_OUT),
    COPY_BOTH: _copy(COPY_BOTH),
    FUNCTION_RESULT: lambda reader: FunctionResult(reader.value()),
    DATA_ROW: lambda reader: DataRow(reader.values()),
}
