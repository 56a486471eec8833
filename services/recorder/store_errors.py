"""What can go wrong between the recorder and ClickHouse, in two kinds: try again, or never will.

Counterpart of `clickhouse.py`, which raises these and nothing else. The line between the two kinds is
drawn for the audit's sake: an error the same bytes are sure to meet again is *rejected* (the caller may
dead-letter the rows); everything else, known or not, is *unavailable*, because events that wait in
JetStream are safe and a lag is visible, while a wrongly dead-lettered event is missing from `operations`.

    StoreError
    ├── StoreUnavailable   retry later: no connection, timeout, overload, disk full, anything unknown
    └── StoreRejected      permanent: these rows or this statement can never succeed as they are
"""

from __future__ import annotations

from typing import Final

from clickhouse_connect.driver.exceptions import (
    ClickHouseError,
    DataError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
)

# ClickHouse's own numbers (src/Common/ErrorCodes.cpp) for "this input is wrong", by what they speak about.
_BAD_DATA: Final = {
    6,  # CANNOT_PARSE_TEXT
    26,  # CANNOT_PARSE_QUOTED_STRING
    27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    33,  # CANNOT_READ_ALL_DATA
    38,  # CANNOT_PARSE_DATE
    41,  # CANNOT_PARSE_DATETIME
    50,  # UNKNOWN_TYPE
    53,  # TYPE_MISMATCH
    69,  # ARGUMENT_OUT_OF_BOUND
    70,  # CANNOT_CONVERT_TYPE
    72,  # CANNOT_PARSE_NUMBER
    117,  # INCORRECT_DATA
    131,  # TOO_LARGE_STRING_SIZE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376,  # CANNOT_PARSE_UUID
    407,  # DECIMAL_OVERFLOW
    469,  # VIOLATED_CONSTRAINT
    691,  # UNKNOWN_ELEMENT_OF_ENUM
}
_BAD_STATEMENT: Final = {
    36,  # BAD_ARGUMENTS
    42,  # NUMBER_OF_ARGUMENTS_DOESNT_MATCH
    43,  # ILLEGAL_TYPE_OF_ARGUMENT
    44,  # ILLEGAL_COLUMN
    46,  # UNKNOWN_FUNCTION
    47,  # UNKNOWN_IDENTIFIER
    57,  # TABLE_ALREADY_EXISTS
    62,  # SYNTAX_ERROR
    80,  # INCORRECT_QUERY
    456,  # UNKNOWN_QUERY_PARAMETER
    457,  # BAD_QUERY_PARAMETER
}
# Not here, because the rows are not at fault and somebody can put it right: a missing table or column (a recorder
# that runs ahead of a migration), a read-only or unprivileged account, a setting that an older server lacks.
PERMANENT_CODES: Final = frozenset(_BAD_DATA | _BAD_STATEMENT)

# What building a Native block out of values of the wrong shape raises, before a byte is sent.
_BAD_VALUE: Final = (TypeError, ValueError, AttributeError, OverflowError, LookupError)


class StoreError(Exception):
    """ClickHouse did not do what was asked. `code` is ClickHouse's own number, None if it never answered."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(StoreError):
    """Nothing is wrong with the request as far as anybody knows: try it again later."""


class StoreRejected(StoreError):
    """The same request will always fail: the rows or the statement are wrong."""


def translate(error: Exception) -> StoreError:
    """Turn whatever clickhouse-connect, urllib3 or the serialiser raised into one of the two kinds."""
    code = getattr(error, "code", None) if isinstance(error, ClickHouseError) else None
    text = f"{type(error).__name__}: {error}" if code is None else str(error)
    if code is not None:
        return StoreRejected(text, code) if code in PERMANENT_CODES else StoreUnavailable(text, code)
    if isinstance(error, OperationalError | InterfaceError | OSError):
        return StoreUnavailable(text)
    if isinstance(error, (DataError, NotSupportedError, *_BAD_VALUE)):
        return StoreRejected(text)
    return StoreUnavailable(text)
