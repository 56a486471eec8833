"""Run readers' queries on the embedded engine, beside the recorder's inserts. Blocking: call it from threads.

Counterpart: chDB. Every query gets a connection of its own (0.1 ms on an open engine) that is made read-only for
good before the reader's text comes near it, so no session state can leak from one reader to the next, and queries
neither wait for each other nor for the inserts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import chdb

from services.recorder.native_columns import UnknownLayout
from services.recorder.native_revision import with_revision
from services.recorder.reader_allowlist import function_allowlist
from services.recorder.reader_settings import ReaderLimits, vet
from services.recorder.sql_guard import Refused, Rules, check_format, judge
from services.recorder.store_address import EmbeddedAddress

BAD_ARGUMENTS: Final = 36
NOT_IMPLEMENTED: Final = 48
TOO_MANY_ROWS_OR_BYTES: Final = 396
UNKNOWN_DATABASE: Final = 81
QUERY_IS_TOO_LARGE: Final = 229

_CODE: Final = re.compile(r"\bCode: (\d+)\. DB::Exception: ")
_OUR_OWN_SCOPE: Final = re.compile(r": In scope (SELECT|WITH) .*(?=\. \([A-Z_]+\))", re.DOTALL)

# Statements that parseQueryToJSON does not know; what follows the words is a table expression, so it is judged,
# and rebuilt, as if it were selected from.
_ON_A_TABLE: Final = ("DESCRIBE TABLE ", "EXISTS TABLE ", "EXISTS VIEW ", "SHOW CREATE TABLE ", "SHOW CREATE VIEW ")
_SELECT: Final = "SELECT * FROM "


class QueryFailed(Exception):
    """ClickHouse's own refusal; `code` is its number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ReaderQuery:
    """One query as it came over HTTP. Parameter values are in ClickHouse's escaped (TSV) form."""

    sql: str
    default_format: str = "TabSeparated"
    database: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    protocol_revision: int = 0


@dataclass(frozen=True, slots=True)
class ReaderAnswer:
    """The result in its format; `summary` has ClickHouse's X-ClickHouse-Summary keys and string values."""

    body: bytes
    format: str
    summary: Mapping[str, str]


class ReaderEngine:
    """The read-only side of one chDB directory."""

    def __init__(self, address: EmbeddedAddress, limits: ReaderLimits) -> None:
        self._address = address
        self._limits = limits
        # chDB compares paths as text: the same spelling as clickhouse-connect's, or it is "another" engine.
        self._path = os.path.realpath(address.directory)
        self._anchor: Any = None
        self._rules: Rules
        self.timezone = "UTC"
        self.display_name = "countersign"

    def open(self) -> None:
        """Keep the engine open and learn what functions it has."""
        self._anchor = chdb.connect(self._path)  # type: ignore[no-untyped-call]
        self._anchor.query(f"CREATE DATABASE IF NOT EXISTS {_identifier(self._address.database)}")
        functions = _rows(
            self._anchor, "SELECT name, alias_to, categories, case_insensitive, is_aggregate FROM system.functions"
        )
        combinators = _rows(self._anchor, "SELECT name FROM system.aggregate_function_combinators")
        self._rules = Rules(function_allowlist(functions, (row["name"] for row in combinators)), self._address.database)
        self.timezone = _rows(self._anchor, "SELECT timezone() AS name")[0]["name"]

    def close(self) -> None:
        """Idempotent."""
        anchor, self._anchor = self._anchor, None
        if anchor is not None:
            anchor.close()

    def run(self, query: ReaderQuery) -> ReaderAnswer:
        """Judge and run one query.

        Raises:
            Refused: it is not something a reader may do.
            QueryFailed: ClickHouse refused it or a limit was hit.
        """
        self._check(query)
        settings = vet(query.settings, self._limits)
        connection = chdb.connect(self._path)  # type: ignore[no-untyped-call]
        try:
            self._confine(connection, settings)
            sql, fmt = _checked(connection, query.sql, self._rules)
            return self._execute(connection, sql, fmt or query.default_format, query)
        finally:
            connection.close()

    def _check(self, query: ReaderQuery) -> None:
        if len(query.sql.encode()) > self._limits.query_bytes:
            raise QueryFailed(f"Query is larger than {self._limits.query_bytes} bytes", QUERY_IS_TOO_LARGE)
        # "default" is what drivers send when nobody chose: a reader has only one database to mean.
        if query.database not in ("", "default", self._address.database):
            raise Refused(f"Database {query.database} is not open to readers", UNKNOWN_DATABASE)
        check_format(query.default_format)

    def _confine(self, connection: Any, settings: Mapping[str, str]) -> None:
        """Set everything, readonly last: from there on the engine lets nobody set anything on this connection."""
        limits = self._limits
        confined: dict[str, str | int] = {
            "max_execution_time": limits.execution_seconds,
            "max_result_rows": limits.result_rows,
            "max_result_bytes": limits.result_bytes,
            "result_overflow_mode": "throw",
            "max_memory_usage": limits.memory_bytes,
            "max_threads": limits.threads,
            "max_query_size": limits.query_bytes * 8,  # our own statement carries the reader's in hex, or grown
            "enable_http_compression": 1,  # so that clickhouse-connect, seeing it in system.settings, asks for it
            **settings,
            "allow_ddl": 0,
            "readonly": 1,
        }
        assignments = ", ".join(f"{name} = {_literal(str(value))}" for name, value in confined.items())
        _ask(connection, f"USE {_identifier(self._address.database)}")
        _ask(connection, f"SET {assignments}")

    def _execute(self, connection: Any, sql: str, fmt: str, query: ReaderQuery) -> ReaderAnswer:
        result = _ask(connection, sql, fmt, query.parameters)
        body = bytes(result.bytes() or b"")
        if len(body) > self._limits.result_bytes:
            raise QueryFailed(f"Result is larger than {self._limits.result_bytes} bytes", TOO_MANY_ROWS_OR_BYTES)
        summary = {
            "read_rows": str(result.storage_rows_read()),
            "read_bytes": str(result.storage_bytes_read()),
            "written_rows": "0",
            "written_bytes": "0",
            "total_rows_to_read": str(result.storage_rows_read()),
            "result_rows": str(result.rows_read()),
            "result_bytes": str(len(body)),
            "elapsed_ns": str(int(result.elapsed() * 1e9)),
        }
        if fmt == "Native":
            body = _native(body, query.protocol_revision)
        return ReaderAnswer(body, fmt, summary)


def _native(body: bytes, revision: int) -> bytes:
    try:
        return with_revision(body, revision)
    except UnknownLayout as error:
        message = f"Native with client_protocol_version cannot carry {error} from an embedded engine: cast it to String"
        raise QueryFailed(message, NOT_IMPLEMENTED) from error


def _checked(connection: Any, sql: str, rules: Rules) -> tuple[str, str | None]:
    """Answer the statement to execute, rebuilt from what was judged, and its FORMAT."""
    try:
        return _judged(connection, sql, rules)
    except QueryFailed as failure:
        if failure.code != BAD_ARGUMENTS:
            raise
    canonical = _formatted(connection, f"formatQuerySingleLine({_hex(sql)})")
    for words in _ON_A_TABLE:
        if canonical.startswith(words):
            return _judged_table(connection, words, canonical.removeprefix(words), rules)
    raise Refused(f"{canonical[:40].split(' ', 1)[0]} is not a statement that only reads")


def _judged_table(connection: Any, words: str, table: str, rules: Rules) -> tuple[str, str | None]:
    try:
        rebuilt, fmt = _judged(connection, _SELECT + table, rules)
    except QueryFailed as failure:
        raise Refused(f"{words.strip()} of this is not open to readers") from failure
    if not rebuilt.startswith(_SELECT):
        raise Refused(f"{words.strip()} takes a table")
    return words + rebuilt.removeprefix(_SELECT), fmt


def _judged(connection: Any, sql: str, rules: Rules) -> tuple[str, str | None]:
    parsed = _formatted(connection, f"parseQueryToJSON({_hex(sql)})")
    try:
        statement = json.loads(parsed)
    except RecursionError:
        raise Refused("the query is nested too deeply") from None
    fmt = judge(statement, rules)
    return _formatted(connection, f"formatQuerySingleLine(formatQueryFromJSON({_hex(parsed)}))"), fmt


def _formatted(connection: Any, expression: str) -> str:
    result = _ask(connection, f"SELECT {expression}", "RawBLOB")
    return str((result.bytes() or b"").decode())


def _ask(connection: Any, sql: str, fmt: str = "TabSeparated", parameters: Mapping[str, str] | None = None) -> Any:
    try:
        return connection.query(sql, fmt, params=dict(parameters or {}))
    except Exception as error:
        message = str(error)
        code = _CODE.search(message)
        if code is None:
            raise QueryFailed(message, 1001) from error  # STD_EXCEPTION: not one of ClickHouse's
        text = _OUR_OWN_SCOPE.sub("", message[code.end() :]) if "unhex(" in sql else message[code.end() :]
        raise QueryFailed(text.strip(), int(code[1])) from error


def _rows(connection: Any, sql: str) -> list[dict[str, Any]]:
    lines = (_ask(connection, sql, "JSONEachRow").bytes() or b"").splitlines()
    return [json.loads(line) for line in lines]


def _hex(text: str) -> str:
    """A string literal that no text can break out of."""
    return f"unhex('{text.encode().hex()}')"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
