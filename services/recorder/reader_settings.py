"""Which settings a reader may send along, and how far they go. Pure. Counterpart: the HTTP query string.

A reader may tighten the limits and choose how the output looks. Everything else is refused the way ClickHouse
refuses it to a `readonly = 1` account, so that clients that know that account behave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.recorder.sql_guard import READONLY, Refused


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one reader's query may cost the recorder's process, which has inserts to make meanwhile."""

    query_bytes: int = 262_144  # ClickHouse's own max_query_size
    request_bytes: int = 1_048_576  # the query with its parameters, decompressed
    execution_seconds: int = 30
    result_rows: int = 1_000_000
    result_bytes: int = 64 * 1024 * 1024  # held whole until the status is known: errors get their true status
    memory_bytes: int = 1024 * 1024 * 1024  # one query's, in the engine
    threads: int = 1  # a query gets one core, so that two cores always leave one to the inserts
    concurrent: int = 4  # running at once; memory_bytes times this is the worst case
    waiting: int = 16  # beyond those that run; a dashboard opens a dozen panels at once


# Limits that may be lowered, with the field of ReaderLimits that caps them.
_CAPPED: Final = {
    "max_execution_time": "execution_seconds",
    "max_result_rows": "result_rows",
    "max_result_bytes": "result_bytes",
    "max_memory_usage": "memory_bytes",
    "max_threads": "threads",
}
# How the answer looks; none of them names a file, and none changes what may be read.
_PRESENTATION: Final = frozenset(
    {
        "date_time_input_format",
        "date_time_output_format",
        "extremes",
        "format_csv_delimiter",
        "join_use_nulls",
        "output_format_arrow_string_as_string",
        "output_format_binary_write_json_as_string",
        "output_format_json_array_of_rows",
        "output_format_json_escape_forward_slashes",
        "output_format_json_named_tuples_as_objects",
        "output_format_json_quote_64bit_floats",
        "output_format_json_quote_64bit_integers",
        "output_format_json_quote_decimals",
        "output_format_json_quote_denormals",
        "output_format_native_write_json_as_string",
        "output_format_parquet_string_as_string",
        "output_format_pretty_color",
        "output_format_pretty_max_rows",
        "output_format_pretty_row_numbers",
        "output_format_write_statistics",
        "session_timezone",
    }
)
# Sent by drivers out of habit and without effect on an embedded engine.
_IGNORED: Final = frozenset(
    {"allow_experimental_analyzer", "enable_analyzer", "limit", "log_comment", "log_queries", "offset"}
)


def vet(settings: Mapping[str, str], limits: ReaderLimits) -> dict[str, str]:
    """Answer what is to be set for this query.

    Raises:
        Refused: with code 164 (READONLY), a setting that a reader may not change, or not in this direction.
    """
    accepted: dict[str, str] = {}
    for name, value in settings.items():
        if name in _CAPPED:
            accepted[name] = _capped(name, value, getattr(limits, _CAPPED[name]))
        elif name in _PRESENTATION:
            accepted[name] = value
        elif not (name in _IGNORED or _is_no_loosening(name, value)):
            raise Refused(f"Cannot modify '{name}' setting in readonly mode", READONLY)
    return accepted


def _capped(name: str, value: str, cap: int) -> str:
    """ClickHouse reads 0 as "no limit"; here it means the cap."""
    try:
        asked = float(value)
    except ValueError:
        raise Refused(f"setting {name} is a number, not {value[:32]!r}", READONLY) from None
    within = 0 < asked < cap
    if name == "max_execution_time":
        return f"{asked:.3f}" if within else str(cap)
    return str(max(1, int(asked))) if within else str(cap)


def _is_no_loosening(name: str, value: str) -> bool:
    return (name == "readonly" and value in ("1", "2")) or (name == "allow_ddl" and value == "0")
