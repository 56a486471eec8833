"""The masking half of the bypass corpus on a real server: what a rule masks does not come out, in whatever guise."""

import itertools

import pytest

from services.ingress.classify.sql.lineage import masked_columns
from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import parse
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.rows.row import RowMasker
from tests.postgres_sql.database import PLANTED, Answer, Database, read_catalog
from tests.postgres_sql.masking_corpus import RULES, reading

CORPUS = list(reading())
#: EXPLAIN has no plan of its own, nor have SHOW and what is no query.
PLANNED = [(sql, masked) for sql, masked in CORPUS if not sql.startswith(("EXPLAIN", "SHOW"))]


def shown(answer: Answer, hidden: frozenset[int]) -> str:
    """All that the agent would read of it, in lower case."""
    masker = RowMasker(answer.fields, hidden, None, Replacer())
    values = itertools.chain.from_iterable(masker.masked(list(row)) for row in answer.rows)
    return b"\n".join(value for value in values if value).decode("utf-8", "replace").lower()


@pytest.mark.parametrize(("sql", "masked"), CORPUS, ids=[sql for sql, _ in CORPUS])
def test_exactly_what_carries_the_column_is_masked(database: Database, sql: str, masked: frozenset[int]) -> None:
    answer = database.answer(sql)
    hidden = masked_columns(database.resolved(sql), answer.fields, RULES, database.catalog)
    assert hidden == masked
    assert PLANTED not in shown(answer, hidden)


@pytest.mark.parametrize(("sql", "masked"), PLANNED, ids=[sql for sql, _ in PLANNED])
def test_the_planner_agrees(database: Database, sql: str, masked: frozenset[int]) -> None:
    """PostgreSQL's own plan as another witness: it never takes a mask away, and adds none to these."""
    answer = database.answer(sql)
    hidden = masked_columns(database.resolved(sql), answer.fields, RULES, database.catalog, database.plan(sql))
    assert hidden >= masked
    opaque = "emails" in sql or "contact" in sql or "hstore" in sql  # functions that the planner looks into
    assert hidden == masked or opaque


@pytest.mark.parametrize(("sql", "masked"), CORPUS, ids=[sql for sql, _ in CORPUS])
def test_without_a_catalog_nothing_comes_out(database: Database, sql: str, masked: frozenset[int]) -> None:
    answer = database.answer(sql)
    (statement,) = parse(sql)
    hidden = masked_columns(resolve(statement, None), answer.fields, RULES, None)
    assert hidden >= masked
    assert PLANTED not in shown(answer, hidden)


def test_what_the_server_says_of_a_column_is_enough(database: Database) -> None:
    """A statement that says one thing, and a description that says another: the description is believed, too."""
    answer = database.answer("SELECT email FROM customers")
    innocent = database.resolved("SELECT note AS email FROM orders")
    assert masked_columns(innocent, answer.fields, RULES, database.catalog) == {0}


def test_a_plan_that_reads_what_the_tree_did_not_lead_to_masks_all(database: Database) -> None:
    fields = (Field("id"), Field("note"))
    statement = database.resolved("SELECT id, note FROM orders")
    assert masked_columns(statement, fields, RULES, database.catalog) == set()
    other = database.plan("SELECT id, email FROM customers")
    assert masked_columns(statement, fields, RULES, database.catalog, other) == {0, 1}
    assert masked_columns(statement, fields, RULES, database.catalog, {"not": "a plan"}) == {0, 1}


def test_other_columns_than_expected_are_all_masked(database: Database) -> None:
    statement = database.resolved("SELECT id FROM orders")
    assert masked_columns(statement, (Field("id"), Field("more")), RULES, database.catalog) == {0, 1}
    assert masked_columns(statement, (Field("another"),), RULES, database.catalog) == {0}


def test_an_unknown_search_path_looks_everywhere(database: Database) -> None:
    sql = "SELECT email FROM customers"
    for path in (None, ("public",), ("pg_catalog", "nowhere", "public")):
        known = database.catalog.within(path)
        statement = database.resolved(sql, known)
        assert masked_columns(statement, (Field("email"),), ("public.customers.email",), known) == {0}


def test_a_view_of_the_same_name_earlier_in_the_path_is_followed(database: Database) -> None:
    sql = "SELECT email, name FROM customers"
    with database.connection.transaction(force_rollback=True):
        database.connection.execute("SET LOCAL search_path TO evil, public")
        answer = database.answer(sql)
    known = database.catalog.within(("evil", "public"))
    hidden = masked_columns(database.resolved(sql, known), answer.fields, ("public.customers.name",), known)
    assert hidden == {1}, "evil.customers.name is public.customers.name"


def test_the_rule_may_name_the_schema_or_not(database: Database) -> None:
    answer = database.answer("SELECT email, id FROM customers")
    statement = database.resolved("SELECT email, id FROM customers")
    for rule, hidden in (
        ("customers.email", {0}),
        ("public.customers.email", {0}),
        ("Customers.EMAIL", {0}),
        ("other.customers.email", set()),
        ("orders.email", set()),
    ):
        assert masked_columns(statement, answer.fields, (rule,), database.catalog) == hidden


def test_partitions_and_parents_are_the_same_rows(database: Database) -> None:
    with database.connection.transaction(force_rollback=True):
        database.connection.execute(
            "CREATE TABLE parted (id int, email text) PARTITION BY LIST (id);"
            "CREATE TABLE part_one PARTITION OF parted FOR VALUES IN (1);"
            "INSERT INTO parted VALUES (1, 'planted')"
        )
        known = read_catalog(database.connection).within(("public",))
        for table in ("parted", "part_one"):
            for rule in ("parted.email", "part_one.email"):
                sql = f"SELECT * FROM {table}"
                answer = database.answer(sql)
                assert masked_columns(database.resolved(sql, known), answer.fields, (rule,), known) == {1}


def test_copy_is_masked_as_select_is(database: Database) -> None:
    def hidden(sql: str, columns: int) -> frozenset[int]:
        return masked_columns(database.resolved(sql), [Field()] * columns, RULES, database.catalog)

    assert hidden("COPY customers TO STDOUT", 3) == {2}
    assert hidden("COPY customers (email, id) TO STDOUT", 2) == {0}
    assert hidden("COPY (SELECT id, lower(email) FROM customers) TO STDOUT CSV", 2) == {1}
    assert hidden("COPY orders TO STDOUT", 3) == set()
    assert hidden("COPY orders TO STDOUT", 4) == {0, 1, 2, 3}
