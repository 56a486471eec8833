"""docs/audit.md and the dashboard: each query runs, answers as the page says, and reads no more than its range."""

import json
import re
import shlex
from datetime import datetime
from typing import Any

import pytest

from countersign.record import Record, rows
from tests.cli.conftest import REPOSITORY
from tests.docs.test_pages import commands
from tests.record_use.conftest import SINCE, Asking
from tests.record_use.world import World

PAGE = (REPOSITORY / "docs" / "audit.md").read_text()
BOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "countersign.json").read_text())
#: A query and the table below it.
EXAMPLES = re.findall(r"```sql\n(.*?)```\n\n(\|.*?)\n(?:\n|\Z)", PAGE, re.DOTALL)
#: Tables that grow with every operation, and what a filter on time skips them by.
LARGE = ("attempts", "outcomes", "verdicts")
#: Grouping views: their filter cannot go below the grouping, and the page says so.
GROUPING = ("FROM session_overview",)


def test_every_query_shows_its_answer() -> None:
    assert len(EXAMPLES) == PAGE.count("```sql") >= 9


@pytest.mark.parametrize(("query", "answer"), EXAMPLES, ids=lambda value: value.split("\n")[0][:60])
def test_a_documented_query_answers_what_the_page_says(record: Record, query: str, answer: str) -> None:
    assert b"".join(record.ask(query, "Markdown", {})).decode().strip() == answer.strip()


@pytest.mark.parametrize("query", [query for query, _ in EXAMPLES if not any(name in query for name in GROUPING)])
def test_a_time_filter_reaches_every_large_table(record: Record, query: str) -> None:
    assert unpruned(record, query) == []


def unpruned(record: Record, query: str) -> list[str]:
    """Large tables that this query would read whole."""
    plan = b"".join(record.ask(f"EXPLAIN indexes = 1, json = 1 {query}", "TSVRaw", {}))
    return [
        node["Description"]
        for node in nodes(json.loads(plan)[0]["Plan"])
        if node["Node Type"] == "ReadFromMergeTree"
        and node["Description"].rpartition(".")[2] in LARGE
        and not any(
            index["Type"] == "PrimaryKey" and "started_at" in index.get("Keys", []) for index in node["Indexes"]
        )
    ]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(found for child in plan.get("Plans", []) for found in nodes(child))]


def test_the_check_of_pruning_sees_a_whole_scan(record: Record) -> None:
    assert unpruned(record, "SELECT count(statement) FROM operations") != []


def test_the_page_names_every_column(record: Record) -> None:
    views = re.findall(r"^\| `(\w+)` \|[^|]*\| ([\w, ]+) \|$", PAGE, re.MULTILINE)
    assert len(views) == 8
    for view, columns in views:
        assert columns.split(", ") == [row["name"] for row in rows(record, f"DESCRIBE {view}")]


def test_the_pages_commands_run(cli: Asking, world: World) -> None:
    done = [command for command in commands(PAGE) if command.startswith("countersign ")]
    assert len(done) >= 9
    for command in done:
        cli.ok(*shlex.split(command.replace("$SESSION", world.ids["chat"]))[1:])
    made = {file.name for file in cli.directory.iterdir()}
    assert made == {"session.html", "operations.jsonl", "denials.parquet", "events.ocsf.jsonl", "case-2026-17"}


# The dashboard: its macros are the plugin's (grafana/clickhouse-datasource, "Macros"), filled in as it does.


def filled(sql: str, agents: str = "''") -> str:
    since, until = (int(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()) for day in (SINCE, "2026-11-21"))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({since}) AND \1 <= toDateTime({until})", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", sql)
    return sql.replace("${agent:sqlstring}", agents)


PANELS = [(panel["title"], target["rawSql"]) for panel in BOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize(("title", "sql"), PANELS, ids=[title for title, _ in PANELS])
def test_a_panels_query_answers(record: Record, title: str, sql: str) -> None:
    found = rows(record, filled(sql))
    assert found, title
    assert unpruned(record, filled(sql)) == []


def test_the_dashboard_counts_what_happened(record: Record) -> None:
    told = {title: rows(record, filled(sql)) for title, sql in PANELS}
    assert told["Operations"] == [{"operations": 7}]
    assert told["Denied"] == [{"denied": 2}]
    assert told["Rested on people"] == [{"approved": 2}]
    assert told["Values masked"] == [{"masked": 5}]
    assert told["Waiting for a person"] == [{"waiting": 0}]
    latest = rows(record, filled(dict(PANELS)["Latest operations"], "'report-agent'"))
    assert [row["subject"] for row in latest] == ["report-agent"]


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    agents = next(variable for variable in BOARD["templating"]["list"] if variable["name"] == "agent")
    assert filled(agents["query"]).startswith("SELECT DISTINCT subject")
    for panel in BOARD["panels"]:
        assert panel["datasource"] == {"type": "grafana-clickhouse-datasource", "uid": "${datasource}"}
        assert {"x", "y", "w", "h"} == set(panel["gridPos"])
        assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
