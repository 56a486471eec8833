"""The bypass corpus: what tries to be something else is judged as what it is, on a real database's catalog."""

import pytest

from services.ingress.classify.sql.model import Kind, Statement
from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import parse
from tests.postgres_sql.actions_corpus import STATEMENTS
from tests.postgres_sql.database import Database, read_catalog


def test_the_corpus_is_large_enough() -> None:
    assert len({sql for sql, _, _ in STATEMENTS}) >= 80


@pytest.mark.parametrize(("sql", "action", "also"), STATEMENTS, ids=[sql for sql, _, _ in STATEMENTS])
def test_a_statement_is_judged_as_what_it_is(database: Database, sql: str, action: str, also: frozenset[str]) -> None:
    statement = database.resolved(sql)
    assert statement.action == action
    assert also <= set(statement.actions)
    assert action in statement.actions


def test_each_statement_of_a_string_is_judged_by_itself() -> None:
    found = parse("SELECT 1; ;-- nothing\nDROP TABLE a; SELECT ';'")
    assert [(each.sql, each.action) for each in found] == [
        ("SELECT 1", "sql.select"),
        ("DROP TABLE a", "sql.drop"),
        ("SELECT ';'", "sql.select"),
    ]
    assert parse("") == parse(" ; -- x\n /* y */") == ()


def test_one_statement_that_does_not_parse_spoils_the_string() -> None:
    """The server refuses such a string whole, so that nothing of it can be told."""
    (found,) = parse("SELECT 1; SELEKT 2")
    assert (found.action, found.kind) == ("sql.unknown", Kind.UNKNOWN)


def prepared(sql: str) -> dict[str, Statement]:
    (statement,) = parse(sql)
    return {statement.name: statement}


def test_execute_is_judged_as_what_was_prepared(database: Database) -> None:
    known = prepared("PREPARE q AS DELETE FROM orders WHERE id = $1")
    assert known["q"].action == "sql.prepare"
    (execute,) = parse("EXECUTE q(refund())")
    judged = resolve(execute, database.catalog, known)
    assert (judged.action, judged.kind, judged.name) == ("sql.call", Kind.EXECUTE, "q")
    assert "sql.delete" in judged.actions
    assert [str(table) for table in judged.writes] == ["public.orders"]
    assert "DELETE FROM orders WHERE id = $1" in judged.shown


def test_another_name_is_another_statement(database: Database) -> None:
    known = prepared("PREPARE q AS SELECT 1") | prepared("PREPARE other AS DELETE FROM orders")
    (execute,) = parse('EXECUTE "other"')
    assert resolve(execute, database.catalog, known).action == "sql.delete"
    (execute,) = parse('EXECUTE "Q"')  # names fold to lower case, quoted ones do not
    assert resolve(execute, database.catalog, known).action == "sql.unknown"


@pytest.mark.parametrize("way", ["EXPLAIN ANALYZE EXECUTE q", "CREATE TABLE x AS EXECUTE q"])
def test_execute_inside_of_others_is_found(database: Database, way: str) -> None:
    known = prepared("PREPARE q AS DELETE FROM orders RETURNING *")
    (statement,) = parse(way)
    assert "sql.delete" in resolve(statement, database.catalog, known).actions
    assert resolve(statement, database.catalog, {}).action == "sql.unknown"


def test_fetch_is_judged_as_its_cursor(database: Database) -> None:
    (declared,) = parse("DECLARE c CURSOR FOR SELECT email FROM customers")
    (fetch,) = parse("FETCH ALL FROM c")
    judged = resolve(fetch, database.catalog, {}, {"c": declared})
    assert (judged.action, judged.kind) == ("sql.select", Kind.FETCH)
    assert judged.columns_read == ("public.customers.email",)


def test_without_a_catalog_functions_count_as_volatile() -> None:
    (statement,) = parse("SELECT lower('x')")
    assert resolve(statement, None).action == "sql.call"


def test_a_function_before_the_servers_own_in_the_path_counts(database: Database) -> None:
    """CVE-2018-1058: a better match in another schema of the path is taken."""
    with database.connection.transaction(force_rollback=True):
        database.connection.execute("CREATE SCHEMA trap")
        database.connection.execute("CREATE FUNCTION trap.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1'")
        known = read_catalog(database.connection)
    assert database.resolved("SELECT lower('x')", known.within(("trap", "public"))).action == "sql.call"
    assert database.resolved("SELECT lower('x')", known.within(("public",))).action == "sql.select"
    assert database.resolved("SELECT lower('x')", known.within(None)).action == "sql.call"
    assert database.resolved("SELECT pg_catalog.lower('x')", known.within(None)).action == "sql.select"
