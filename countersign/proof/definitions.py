"""What auditors read through: the views, the columns that open content, and the runs that traces belong to.

Rows prove nothing to somebody who reads them through a view that hides some. ClickHouse keeps a view's text as it
formats it, so the text of the migrations is formatted by the same ClickHouse and compared. How content is opened it
does not show (it hides the arguments of functions that take keys): so content is opened both ways, and compared.
"""

import re
from typing import Final

from countersign.proof.findings import Finding, Report
from countersign.record import Record, rows
from services.recorder.migrate import load_migrations

_VIEW: Final = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS\s(.*)", re.DOTALL)
#: ClickHouse puts the database before each table; a text that says its name elsewhere loses it on both sides.
_DEFINED: Final = """
SELECT replaceAll(as_select, concat(currentDatabase(), '.'), '')
       = replaceAll(formatQuerySingleLine({must:String}), concat(currentDatabase(), '.'), '') AS same
FROM system.tables WHERE database = currentDatabase() AND name = {name:String} AND engine = 'View'
"""
#: Table, and the key of its rows' content in `keyring`; as in migration 0004.
_CARRIERS: Final = {
    "attempts": "(session_id, 'AUDIT')",
    "outcomes": "(session_id, 'AUDIT')",
    "approval_requests": "(session_id, 'AUDIT')",
    "session_frames": "(session_id, stream)",
    "dead_letters": "(event_id, stream)",
}
_KEY: Final = """
SELECT replaceAll(default_expression, concat(currentDatabase(), '.'), '')
       = replaceOne(formatQuerySingleLine(concat('SELECT ', {must:String})), 'SELECT ', '') AS same
FROM system.columns
WHERE database = currentDatabase() AND table = {table:String} AND name = 'content_key' AND default_kind = 'ALIAS'
"""
_KEYED: Final = "SHA256(SHA256(concat(dictGetOrDefault('keyring', 'key', {key}, ''), event_id)))"
_OPENED: Final = """
SELECT stream_seq, event_id FROM {table}
WHERE opened IS DISTINCT FROM tryDecrypt('aes-256-gcm', substring(content, 13), content_key,
                                         rightPad(substring(content, 1, 12), 12, '\\0'), event_id)
ORDER BY stream_seq LIMIT 100
"""
_RUNS: Final = """
SELECT trace_id FROM trace_runs
WHERE (trace_id, run) NOT IN (
    SELECT substring(traceparent, 4, 32), run FROM attempts WHERE run != '' AND traceparent != ''
)
ORDER BY trace_id LIMIT 100
"""


def definitions() -> dict[str, str]:
    """Every view of the migrations, and the text it was given last."""
    found = {}
    for migration in load_migrations():
        for statement in migration.statements:
            if match := _VIEW.search(statement):
                found[match[1]] = match[2]
    return found


def verify_definitions(record: Record, report: Report) -> None:
    """Compare all of them. Raises CommandError."""
    for name, text in definitions().items():
        found = rows(record, _DEFINED, {"name": name, "must": text})
        if not (found and int(found[0]["same"])):
            report.add(Finding("changed", name, "the view is not the one that the recorder made"))
    for table, key in _CARRIERS.items():
        found = rows(record, _KEY, {"table": table, "must": _KEYED.format(key=key)})
        if not (found and int(found[0]["same"])):
            report.add(Finding("changed", table, "the column content_key is not the one that the recorder made"))
        for row in rows(record, _OPENED.format(table=table)):
            detail = "the column opened tells something else than the content"
            report.add(Finding("changed", table, detail, int(row["stream_seq"]), row["event_id"]))
    for row in rows(record, _RUNS):
        report.add(Finding("added", "trace_runs", f"no attempt names this run for trace {row['trace_id']}"))
