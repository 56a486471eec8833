"""Answers and errors of the ClickHouse HTTP interface, as bytes and headers. Counterpart: any ClickHouse client."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from services.recorder.reader_engine import ReaderAnswer

# Which status ClickHouse's HTTPHandler gives which code; what is not listed is 500.
_STATUS: Final[Mapping[int, int]] = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 80, 117, 130, 184, 215), 400),
    **dict.fromkeys((456, 457), 400),  # a query parameter is missing or cannot be read
    **dict.fromkeys((46, 47, 50, 60, 73, 81, 115), 404),  # unknown function, column, type, table, format, …
    **dict.fromkeys((164, 497), 403),  # READONLY, ACCESS_DENIED
    **dict.fromkeys((194, 516), 401),  # REQUIRED_PASSWORD, AUTHENTICATION_FAILED
    48: 501,  # NOT_IMPLEMENTED
    159: 408,  # TIMEOUT_EXCEEDED
    202: 503,  # TOO_MANY_SIMULTANEOUS_QUERIES
    229: 413,  # QUERY_IS_TOO_LARGE
}
# Error names for the codes we raise ourselves; ClickHouse's own messages end with theirs.
_NAMES: Final[Mapping[int, str]] = {
    48: "NOT_IMPLEMENTED",
    73: "UNKNOWN_FORMAT",
    81: "UNKNOWN_DATABASE",
    164: "READONLY",
    194: "REQUIRED_PASSWORD",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    229: "QUERY_IS_TOO_LARGE",
    396: "TOO_MANY_ROWS_OR_BYTES",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    1001: "STD_EXCEPTION",
}
_CONTENT_TYPES: Final = (
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONCompactEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONStringsEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONLines", "application/x-ndjson; charset=UTF-8"),
    ("NDJSON", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Markdown", "text/markdown; charset=UTF-8"),
    ("Pretty", "text/plain; charset=UTF-8"),
    ("Vertical", "text/plain; charset=UTF-8"),
    ("Values", "text/plain; charset=UTF-8"),
)
_COMPRESS_FROM: Final = 1024  # bytes; below, the headers weigh more than what is saved
_FAST: Final = 1  # zlib level: the readers are on fast networks, the cores are shared


def content_type(fmt: str) -> str:
    for prefix, kind in _CONTENT_TYPES:
        if fmt.startswith(prefix):
            return kind
    return "application/octet-stream"


def status_of(code: int) -> int:
    return _STATUS.get(code, 500)


def compressed(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Answer the body and its Content-Encoding, None for as it is. Blocking for large bodies."""
    offers = {offer.partition(";")[0].strip() for offer in accepted.lower().split(",")}
    if len(body) >= _COMPRESS_FROM:
        if "gzip" in offers:
            return gzip.compress(body, _FAST, mtime=0), "gzip"
        if "deflate" in offers:
            return zlib.compress(body, _FAST), "deflate"
    return body, None


def reply(answer: ReaderAnswer, body: bytes, encoding: str | None, common: Mapping[str, str]) -> web.Response:
    """A result with ClickHouse's headers."""
    headers = {
        **common,
        "X-ClickHouse-Format": answer.format,
        "X-ClickHouse-Summary": json.dumps(answer.summary, separators=(",", ":")),
        "Content-Type": content_type(answer.format),
        # Results of an audit: not to be kept by anything between here and the reader.
        "Cache-Control": "no-store",
    }
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, headers=headers)


def failure(code: int, message: str, common: Mapping[str, str]) -> web.Response:
    """`Code: N. DB::Exception: …` with the status ClickHouse gives that code."""
    name = _NAMES.get(code)
    suffix = f". ({name})" if name and not message.endswith(")") else ""
    headers = {**common, "X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain; charset=UTF-8"}
    status = status_of(code)
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="countersign audit", Bearer realm="countersign audit"'
    if status == 503:
        headers["Retry-After"] = "1"
    return web.Response(
        status=status, text=f"Code: {code}. DB::Exception: {message.rstrip('.')}{suffix}\n", headers=headers
    )
