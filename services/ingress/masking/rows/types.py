"""PostgreSQL's types as far as masking needs them, by OID (src/include/catalog/pg_type.dat).

    type                            masked whole          a value found in it
    text, varchar, char(n), name    label, hash, token…   is replaced where it stands
    json, jsonb, xml                a JSON string, text   is replaced where it stands
    everything else                 NULL                  the whole value becomes NULL

For a number, date, uuid, array or composite there is no masked value that is still one of its type; readers are ready
for NULL. Domains come as what they are domains of; enums and types of extensions (citext) count as everything else.
"""

from __future__ import annotations

import ipaddress
import struct
import uuid
from collections.abc import Callable
from enum import Enum


class Family(Enum):
    """How values of a type are read and replaced."""

    TEXT = "text"
    JSON = "json"
    JSONB = "jsonb"
    XML = "xml"
    BYTEA = "bytea"
    OTHER = "other"


_FAMILIES = {
    0: Family.TEXT,
    19: Family.TEXT,
    25: Family.TEXT,
    705: Family.TEXT,
    1042: Family.TEXT,
    1043: Family.TEXT,
    1790: Family.TEXT,
    2275: Family.TEXT,
    114: Family.JSON,
    3802: Family.JSONB,
    142: Family.XML,
    17: Family.BYTEA,
}


def family(oid: int) -> Family:
    """Of a type; one that nobody knows is `OTHER`, one that nobody told is text."""
    return _FAMILIES.get(oid, Family.OTHER)


def spelt(raw: bytes, oid: int) -> str | None:
    """A binary value as text, for the types whose binary form is not text already; None for all others."""
    read = _READERS.get(oid)
    if read is None:
        return None
    try:
        return read(raw)
    except (struct.error, ValueError, IndexError, OverflowError):
        return None


def _integer(raw: bytes) -> str:
    return str(int.from_bytes(raw, "big", signed=True))


def _word(raw: bytes) -> str:
    return str(int.from_bytes(raw, "big"))


def _numeric(raw: bytes) -> str:
    """Digits to the base of 10,000 (src/backend/utils/adt/numeric.c, numeric_send)."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", raw)
    if sign not in (0, 0x4000):
        return "NaN" if sign == 0xC000 else "Infinity"
    if weight > 33_000 or scale > 17_000:
        raise ValueError("not a numeric")
    digits = struct.unpack_from(f"!{count}H", raw, 8)
    whole = "".join(f"{digits[at] if at < count else 0:04d}" for at in range(weight + 1)).lstrip("0") or "0"
    places = "".join(f"{digit:04d}" for digit in digits[max(0, weight + 1) :])
    fraction = ("0000" * max(0, -weight - 1) + places)[:scale].ljust(scale, "0")
    return f"{'-' if sign else ''}{whole}{'.' + fraction if fraction else ''}"


def _address(raw: bytes) -> str:
    """inet and cidr: family, bits, is_cidr, length, address (network_send)."""
    return str(ipaddress.ip_address(raw[4 : 4 + raw[3]]))


_READERS: dict[int, Callable[[bytes], str]] = {
    16: lambda raw: "true" if raw != b"\0" else "false",
    20: _integer,
    21: _integer,
    23: _integer,
    26: _word,
    700: lambda raw: repr(struct.unpack("!f", raw)[0]),
    701: lambda raw: repr(struct.unpack("!d", raw)[0]),
    1700: _numeric,
    2950: lambda raw: str(uuid.UUID(bytes=raw)),
    650: _address,
    869: _address,
}
