"""Where a column of a Native block ends. Pure. Counterpart: `native_revision.py`, which puts bytes in between.

Native columns carry no length, so one has to walk them by type; nothing is decoded on the way. The layouts are
those of ClickHouse's SerializationXxx classes. One walk covers `rows` values that lie together:

    fixed size       rows * size
    String           rows * (varint length, bytes)
    Nullable(T)      rows * 1, then T
    Array(T)         rows * 8 cumulative offsets, then T for the last offset; Map(K, V) is Array(Tuple(K, V))
    Tuple(T, …)      each T in turn
    LowCardinality   once at the column's start 8 bytes of version; then, if rows: 8 of flags (low byte: index
                     size 1 << n), 8 of key count, keys, 8 of row count, indexes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_SIZES: Final = {
    "Nothing": 1, "Bool": 1, "UInt8": 1, "Int8": 1, "Enum8": 1,
    "UInt16": 2, "Int16": 2, "Enum16": 2, "Date": 2, "BFloat16": 2,
    "UInt32": 4, "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Time": 4, "Decimal32": 4,
    "UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8, "Decimal64": 8,
    "UInt128": 16, "Int128": 16, "UUID": 16, "IPv6": 16, "Decimal128": 16,
    "UInt256": 32, "Int256": 32, "Decimal256": 32,
}  # fmt: skip
_INTERVAL_SIZE: Final = 8
_DECIMALS: Final = ((9, 4), (18, 8), (38, 16), (76, 32))  # the precision up to which each size is used
_GEO: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
_TYPE: Final = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
# A tuple's element or a nested column may have a name before its type.
_NAMED: Final = re.compile(r"(?:`(?:[^`\\]|\\.|``)*`|\w+)\s+(?=\w)")
_CACHED_TYPES: Final = 1024  # a database of ours has some dozens


class UnknownLayout(Exception):
    """A type whose values cannot be walked: an aggregation state, Variant, Dynamic, JSON."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type as the walk needs it: what kind, of what, and how wide its own part is."""

    kind: str
    size: int = 0
    inner: tuple[ColumnType, ...] = ()

    def low_cardinalities(self) -> int:
        return (self.kind == "LowCardinality") + sum(part.low_cardinalities() for part in self.inner)


@lru_cache(_CACHED_TYPES)
def parse_type(text: str) -> ColumnType:
    """Read a type's name as ClickHouse writes it. Raises UnknownLayout."""
    match = _TYPE.fullmatch(text.strip())
    if match is None:
        raise UnknownLayout(text)
    name, inside = match[1], match[2] or ""
    if name in _GEO:
        return parse_type(_GEO[name])
    if name in ("Nullable", "LowCardinality", "Array", "Tuple", "Map", "Nested", "SimpleAggregateFunction"):
        return _composite(name, [_unnamed(part) for part in _split(inside)])
    return ColumnType("String") if name == "String" else ColumnType("Fixed", _fixed_size(name, inside))


def _composite(name: str, parts: list[str]) -> ColumnType:
    if name == "SimpleAggregateFunction":
        return parse_type(parts[1])
    inner = tuple(map(parse_type, parts))
    if name == "LowCardinality" and inner[0].kind == "Nullable":
        return ColumnType(name, inner=inner[0].inner)  # NULL is the dictionary's first key, there is no null map
    if name in ("Map", "Nested"):
        return ColumnType("Array", inner=(ColumnType("Tuple", inner=inner),))
    if name == "Tuple" and not inner:
        return ColumnType("Fixed", 1)
    return ColumnType(name, inner=inner)


def _fixed_size(name: str, inside: str) -> int:
    if name == "FixedString":
        return int(inside)
    if name == "Decimal":
        precision = int(inside.partition(",")[0])
        return next(size for limit, size in _DECIMALS if precision <= limit)
    if name.startswith("Interval"):
        return _INTERVAL_SIZE
    if name not in _SIZES:
        raise UnknownLayout(name)
    return _SIZES[name]


def _unnamed(part: str) -> str:
    return _NAMED.sub("", part, count=1) if _NAMED.match(part) else part


def _split(inside: str) -> Iterator[str]:
    """Split at the commas that stand in no parentheses and no quotes."""
    depth, start, quote, escaped = 0, 0, "", False
    for position, character in enumerate(inside):
        if escaped or (quote and character == "\\"):
            escaped = not escaped
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'`":
            quote = character
        elif character == "," and depth == 0:
            yield inside[start:position].strip()
            start = position + 1
        else:
            depth += (character == "(") - (character == ")")
    if inside.strip():
        yield inside[start:].strip()


def column_end(data: bytes, start: int, column_type: ColumnType, rows: int) -> int:
    """Answer where the data of a column of `rows` values ends; of no rows, nothing is written."""
    if rows == 0:
        return start
    return _walk(data, start + 8 * column_type.low_cardinalities(), column_type, rows)


def _walk(data: bytes, at: int, column_type: ColumnType, rows: int) -> int:
    kind = column_type.kind
    if kind == "Fixed":
        return at + rows * column_type.size
    if kind == "String":
        return _skip_strings(data, at, rows)
    if kind == "Nullable":
        return _walk(data, at + rows, column_type.inner[0], rows)
    if kind == "Tuple":
        for part in column_type.inner:
            at = _walk(data, at, part, rows)
        return at
    if kind == "Array":
        return _skip_arrays(data, at, column_type.inner[0], rows)
    return _skip_low_cardinality(data, at, column_type.inner[0], rows)


def _skip_strings(data: bytes, at: int, rows: int) -> int:
    for _ in range(rows):
        length = data[at]
        if length < 0x80:  # nearly always; this loop is where the time goes
            at += 1 + length
        else:
            length, at = read_varint(data, at)
            at += length
    return at


def _skip_arrays(data: bytes, at: int, element: ColumnType, rows: int) -> int:
    after = at + rows * 8
    elements = _read_uint64(data, after - 8) if rows else 0
    return _walk(data, after, element, elements)


def _skip_low_cardinality(data: bytes, at: int, key: ColumnType, rows: int) -> int:
    if rows == 0:
        return at
    index_size = 1 << (_read_uint64(data, at) & 0xFF)
    keys = _read_uint64(data, at + 8)
    at = _walk(data, at + 16, key, keys)
    return at + 8 + _read_uint64(data, at) * index_size


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Answer a LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _read_uint64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")
