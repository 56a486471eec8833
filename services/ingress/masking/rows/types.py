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


#: PostgreSQL's own limits (MAXDIM, MaxTupleAttributeNumber).
_MOST_DIMENSIONS, _MOST_COLUMNS = 6, 1664


#: Of a numeric; "" for a finite one.
_SIGNS = {0: "", 0x4000: "", 0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


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


def members(raw: bytes) -> list[tuple[int, bytes]]:
    """The values inside a binary array or composite, each with its type; empty for what is neither.

    array       Int32 dimensions, Int32 has NULLs, OID of elements, for each dimension Int32 length and lower bound
                (array_send); then Int32 length and bytes of each element
    composite   Int32 columns; then OID, Int32 length and bytes of each (record_send)
    """
    return _read(_array, raw) or _read(_composite, raw)


def _read(reader: Callable[[bytes], list[tuple[int, bytes]]], raw: bytes) -> list[tuple[int, bytes]]:
    try:
        return reader(raw)
    except (struct.error, ValueError):
        return []


def _array(raw: bytes) -> list[tuple[int, bytes]]:
    dimensions, _, element = struct.unpack_from("!iiI", raw)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise ValueError("no array")
    found, at = [], 12 + 8 * dimensions
    while at < len(raw):
        value, at = _value(raw, at)
        found.append((element, value))
    return found


def _composite(raw: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 4
    for _ in range(_within(struct.unpack_from("!i", raw)[0])):
        (oid,) = struct.unpack_from("!I", raw, at)
        value, at = _value(raw, at + 4)
        found.append((oid, value))
    if at != len(raw):
        raise ValueError("no composite")
    return found


def _value(raw: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("!i", raw, at)
    end = at + 4 + max(0, length)
    if length < -1 or end > len(raw):
        raise ValueError("no value")
    return raw[at + 4 : end], end


def _within(columns: int) -> int:
    """A table has 1,600 columns at most."""
    if not 0 <= columns <= _MOST_COLUMNS:
        raise ValueError("no composite")
    return columns


def _fixed(form: str) -> Callable[[bytes], str]:
    return lambda raw: str(struct.unpack(form, raw)[0])


def _numeric(raw: bytes) -> str:
    """Digits to the base of 10,000 (src/backend/utils/adt/numeric.c, numeric_send)."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", raw)
    if weight > 33_000 or scale > 17_000 or len(raw) != 8 + 2 * count or sign not in _SIGNS:
        raise ValueError("not a numeric")
    if _SIGNS[sign]:
        return _SIGNS[sign]
    digits = struct.unpack_from(f"!{count}H", raw, 8)
    whole = "".join(f"{digits[at] if at < count else 0:04d}" for at in range(weight + 1)).lstrip("0") or "0"
    places = "".join(f"{digit:04d}" for digit in digits[max(0, weight + 1) :])
    fraction = ("0000" * max(0, -weight - 1) + places)[:scale].ljust(scale, "0")
    return f"{'-' if sign else ''}{whole}{'.' + fraction if fraction else ''}"


def _address(raw: bytes) -> str:
    """inet and cidr: family, bits, is_cidr, length, address (network_send)."""
    return str(ipaddress.ip_address(raw[4 : 4 + raw[3]]))


_READERS: dict[int, Callable[[bytes], str]] = {
    16: _fixed("!?"),
    20: _fixed("!q"),
    21: _fixed("!h"),
    23: _fixed("!i"),
    26: _fixed("!I"),
    700: _fixed("!f"),
    701: _fixed("!d"),
    1700: _numeric,
    2950: lambda raw: str(uuid.UUID(bytes=raw)),
    650: _address,
    869: _address,
}
