"""The shape of results: a column as RowDescription tells it, and the format of a COPY."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a result (PostgreSQL documentation, "Message Formats").

    `table` and `number` are 0 for a column that is no table's; `type` is 0 when not known.
    """

    name: str = ""
    #: OID of the table.
    table: int = 0
    #: attnum of the column.
    number: int = 0
    #: OID of the type.
    type: int = 0
    binary: bool = False


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """How COPY writes rows (PostgreSQL documentation, "COPY"); `name` is `text`, `csv` or `binary`."""

    name: str = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    quote: str = '"'
    escape: str = '"'
    header: bool = False
    #: The encoding of the data, "" for the client's.
    encoding: str = ""
