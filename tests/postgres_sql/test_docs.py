"""What docs/sql.md says, done: its statements judged, its masks applied, its rules read, its attributes complete."""

import re
from pathlib import Path

import pytest

from services.ingress.classify.sql.kinds import STRENGTH
from services.ingress.classify.sql.lineage import masked_columns
from services.ingress.classify.sql.operation import operation
from services.ingress.classify.sql.statements import parse
from services.ingress.classify.sql.text_guard import MAX_DEPTH, MAX_TEXT, MAX_TOKENS
from services.policy.rules import parse_policy
from tests.postgres_sql.database import Database
from tests.postgres_sql.masking_corpus import RULES

PAGE = (Path(__file__).parents[2] / "docs/sql.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own head."""
    below = "\n" + PAGE.split(f"\n## {heading}\n")[1]
    rows = re.findall(r"^\|(.*)\|$", below.split("\n\n|", 1)[1].split("\n\n")[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows if not row.startswith("---")]


STATEMENTS = table("What a statement is called")
MASKED = table("Masked columns")


def test_the_tables_are_found() -> None:
    assert len(STATEMENTS) > 30
    assert len(MASKED) > 8


@pytest.mark.parametrize("row", STATEMENTS, ids=lambda row: row[0])
def test_statements_are_called_what_the_page_says(database: Database, row: list[str]) -> None:
    sql, action, *also = (cell.strip("` |") for cell in row)
    statement = database.resolved(sql)
    assert statement.action == action
    assert set(statement.actions) == {action, *re.findall(r"sql\.\w+", " ".join(also))}


@pytest.mark.parametrize("row", MASKED, ids=lambda row: row[0])
def test_columns_are_masked_as_the_page_says(database: Database, row: list[str]) -> None:
    sql, which = row[0].strip("`"), row[1].strip(" |")
    answer = database.answer(sql)
    hidden = masked_columns(database.resolved(sql), answer.fields, RULES, database.catalog, database.plan(sql))
    assert {at + 1 for at in hidden} == ({int(which)} if which != "none" else set())


def test_the_order_of_strength_is_the_pages() -> None:
    sentence = PAGE.split("From the strongest to the weakest: ")[1].split(". ")[0]
    assert tuple(f"sql.{name}" for name in re.findall(r"`(\w+)`", sentence)) == STRENGTH


def test_the_rules_are_rules() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(parse_policy(block).rules) == 6


def test_every_attribute_is_described() -> None:
    given: set[str] = set()
    for sql in ("COPY orders TO STDOUT", "SELEKT"):
        (statement,) = parse(sql)
        found = operation(statement, (), connector="c", database="d", recorded="", context={}, size=1, key=b"k" * 32)
        given |= set(found.attributes)
    described = {name for row in table("Attributes") for name in re.findall(r"`(\w+)`", row[0])}
    assert described == given


def test_the_bounds_are_the_pages() -> None:
    assert f"{MAX_TEXT // 1024} KiB, {MAX_TOKENS:,} tokens, or {MAX_DEPTH:,} operators deep" in PAGE
