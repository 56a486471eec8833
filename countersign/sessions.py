"""`countersign sessions list`: which agents were connected when, to what, and how it went."""

import json as jsonlib
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from countersign.errors import Misuse
from countersign.record import Record, opened, rows
from countersign.replay.visible import one_line
from countersign.where import DataOption, when

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

#: A list that nobody narrowed looks this far back: longer would read the whole record.
DEFAULT_SINCE: Final = "7d"
#: More than this is a question for `audit sql`.
MAX_LIMIT: Final = 10_000

#: Columns of the table, with the longest that each may get.
_SHOWN: Final = (
    *(("session_id", 36), ("started_at", 19), ("subject", 24), ("protocol", 10), ("connectors", 24)),
    *(("operations", 10), ("denied", 6), ("rows", 9)),
)
_LIST: Final = """
SELECT o.session_id AS session_id, formatDateTime(min(o.started_at), '%F %T', 'UTC') AS started_at,
       formatDateTime(max(coalesce(o.finished_at, o.started_at)), '%F %T', 'UTC') AS last_at,
       max(o.subject) AS subject, max(o.email) AS email, any(o.protocol) AS protocol,
       arraySort(groupUniqArray(o.connector)) AS connectors, arraySort(groupUniqArray(o.outcome)) AS outcomes,
       count() AS operations, countIf(o.outcome = 'denied') AS denied, sum(o.rows) AS rows,
       sum(o.request_bytes) AS request_bytes, sum(o.response_bytes) AS response_bytes
FROM operations AS o
WHERE o.started_at >= {since:DateTime64(3, 'UTC')} AND o.started_at <= {until:DateTime64(3, 'UTC')} {filters}
GROUP BY o.session_id {having}
ORDER BY min(o.started_at) DESC LIMIT {limit:UInt32}
"""
#: `--run` needs to know the run; the operations of one are few.
_OF_RUN: Final = """
AND o.operation_id IN (
    SELECT operation_id FROM run_steps
    WHERE run = {run:String} AND started_at >= {since:DateTime64(3, 'UTC')}
      AND started_at <= {until:DateTime64(3, 'UTC')})
"""


@app.callback()
def _sessions() -> None:
    """See who was connected."""


@app.command("list")
def list_(
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="A time (2026-11-20, 2026-11-20T14:00) or how long ago (2h, 7d).")
    ] = DEFAULT_SINCE,
    until: Annotated[str, typer.Option(metavar="WHEN", help="Likewise; now by default.")] = "0s",
    subject: Annotated[str, typer.Option(help="Only this agent's: its subject or e-mail address.")] = "",
    connector: Annotated[str, typer.Option(help="Only with operations on this connector.")] = "",
    protocol: Annotated[str, typer.Option(help="http, postgres, ssh, …")] = "",
    outcome: Annotated[str, typer.Option(help="Only with an operation that ended so: denied, failed, …")] = "",
    denied: Annotated[bool, typer.Option("--denied", help="The same as --outcome denied.")] = False,
    run: Annotated[str, typer.Option(help="Only those of this run (Countersign-Run, or a trace id).")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="The newest so many.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: DataOption = None,
) -> None:
    """List sessions, the newest first."""
    if denied and outcome not in ("", "denied"):
        raise Misuse("--denied: contradicts --outcome")
    filters = {"subject": subject, "connector": connector, "protocol": protocol, "run": run}
    span = {"since": moment(when("--since", since)), "until": moment(when("--until", until))}
    with opened(data) as record:
        found = find(record, filters | span, outcome="denied" if denied else outcome, limit=limit)
    if json:
        print(jsonlib.dumps(found[:limit]))
        return
    print("\n".join(table(found[:limit])) if found else f"No sessions between {span['since']} and {span['until']} UTC.")
    if len(found) > limit:
        print(f"countersign: the newest {limit} are shown; --limit shows more", file=sys.stderr)


def find(record: Record, wanted: dict[str, str], *, outcome: str, limit: int) -> list[dict[str, Any]]:
    """The sessions, and one more than `limit` when there are more. `wanted` holds since, until and the filters."""
    filters = "AND (o.subject = {subject:String} OR o.email = {subject:String}) " if wanted["subject"] else ""
    filters += "AND o.protocol = {protocol:String} " if wanted["protocol"] else ""
    filters += _OF_RUN if wanted["run"] else ""
    # A session is shown whole, with what it did elsewhere, so these look at the group.
    having = "HAVING countIf(o.connector = {connector:String}) > 0 " if wanted["connector"] else ""
    if outcome:
        having += f"{'AND' if having else 'HAVING'} countIf(o.outcome = {{outcome:String}}) > 0"
    sql = _LIST.replace("{filters}", filters).replace("{having}", having)
    return rows(record, sql, {**wanted, "outcome": outcome, "limit": str(limit + 1)})


def moment(value: datetime) -> str:
    """As ClickHouse reads it, in UTC, to the millisecond."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines for people, a heading first; nothing recorded can steer the terminal."""
    cells = [[name for name, _ in _SHOWN], *([_cell(row[name], width) for name, width in _SHOWN] for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: Any, width: int) -> str:
    text = ",".join(value) if isinstance(value, list) else str(value)
    return one_line(text, width) or "-"
