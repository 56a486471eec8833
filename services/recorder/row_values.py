"""Values of rows, checked against what ClickHouse's types hold. Pure; for `rows.py` and `approval_rows.py`."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from schemas.identity import Identity

Row = tuple[Any, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: What DateTime64(6) holds (ClickHouse data types, DateTime64): 1900 to 2299; we publish none before 1970.
_LAST_MOMENT: Final = 10_413_791_999_999_999
#: What UInt64 holds.
_LAST_COUNT: Final = 2**64 - 1


class NotAnEvent(Exception):
    """The message cannot be recorded as an event; the text says why."""


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970. Raises NotAnEvent when ClickHouse cannot hold it."""
    value = (moment - _EPOCH) // _MICROSECOND
    if not 0 <= value <= _LAST_MOMENT:
        raise NotAnEvent(f"the moment {moment.isoformat()} is out of range")
    return value


#: The identity of a request that was refused before it had one.
NOBODY: Final[Row] = ("", "", "", (), "")


def of_identity(identity: Identity) -> Row:
    """Subject, issuer, email, groups and kind."""
    return identity.subject, identity.issuer, identity.email, identity.groups, identity.kind


def count(value: int) -> int:
    """A UInt64. Raises NotAnEvent."""
    if not 0 <= value <= _LAST_COUNT:
        raise NotAnEvent(f"the count {value} is out of range")
    return value


def counts(values: Mapping[str, int]) -> dict[str, int]:
    """A map of UInt64. Raises NotAnEvent."""
    return {name: count(value) for name, value in values.items()}


def as_json(value: Mapping[str, Any]) -> str:
    """JSON text; empty for nothing."""
    if not value:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, which JSON allows
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
