"""Native blocks for a client that names a protocol revision, as clickhouse-connect and Grafana's Go driver do.

chDB writes Native blocks without the parts that `client_protocol_version` asks a server for. They are put in
here. Pure. Counterpart: the client's block reader; ClickHouse's own is `NativeReader`.

    revision 0            columns, rows, then per column: name, type,        data
    revision > 0          BlockInfo before each block
    revision >= 54454     and per column:                 name, type, kind,  data     (kind 0: not sparse)
"""

from __future__ import annotations

from typing import Final

from services.recorder.native_columns import column_end, parse_type, read_varint

_WITH_CUSTOM_SERIALIZATION: Final = 54454  # DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION
# Field 1: is_overflows = 0; field 2: bucket_num = -1; 0 ends the list.
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_NOT_SPARSE: Final = b"\x00"


def with_revision(native: bytes, revision: int) -> bytes:
    """Rewrite concatenated Native blocks of revision 0 for `revision`; 0 answers them as they are.

    Raises:
        UnknownLayout: a column's type cannot be walked.
    """
    if revision <= 0:
        return native
    kind = _NOT_SPARSE if revision >= _WITH_CUSTOM_SERIALIZATION else b""
    rewritten: list[bytes] = []
    at = 0
    while at < len(native):
        at = _block(native, at, kind, rewritten)
    return b"".join(rewritten)


def _block(native: bytes, start: int, kind: bytes, rewritten: list[bytes]) -> int:
    """Copy one block with the additions; answer where it ends."""
    rewritten.append(_BLOCK_INFO)
    columns, at = read_varint(native, start)
    rows, at = read_varint(native, at)
    copied = start
    for _ in range(columns):
        _, at = _read_string(native, at)
        type_name, at = _read_string(native, at)
        rewritten += (native[copied:at], kind)
        copied = at
        at = column_end(native, at, parse_type(type_name), rows)
    rewritten.append(native[copied:at])
    return at


def _read_string(native: bytes, at: int) -> tuple[str, int]:
    length, at = read_varint(native, at)
    return native[at : at + length].decode(errors="replace"), at + length
