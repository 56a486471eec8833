"""What parsing tells by itself, and that no text can harm the process that parses it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.classify.sql.model import Kind
from services.ingress.classify.sql.statements import parse
from services.ingress.classify.sql.text_guard import MAX_TEXT


@pytest.mark.parametrize(
    ("sql", "kind", "name"),
    [
        ("BEGIN", Kind.BEGIN, ""),
        ("START TRANSACTION", Kind.BEGIN, ""),
        ("COMMIT AND CHAIN", Kind.COMMIT, ""),
        ("END", Kind.COMMIT, ""),
        ("ABORT", Kind.ROLLBACK, ""),
        ("SAVEPOINT a", Kind.SAVEPOINT, "a"),
        ("RELEASE a", Kind.RELEASE, "a"),
        ("ROLLBACK TO a", Kind.ROLLBACK_TO, "a"),
        ("PREPARE TRANSACTION 'x'", Kind.PREPARE_TRANSACTION, "x"),
        ("PREPARE p AS SELECT 1", Kind.PREPARE, "p"),
        ("EXECUTE p", Kind.EXECUTE, "p"),
        ("DEALLOCATE p", Kind.DEALLOCATE, "p"),
        ("DEALLOCATE ALL", Kind.DEALLOCATE, ""),
        ("DECLARE c CURSOR FOR SELECT 1", Kind.DECLARE, "c"),
        ("FETCH 1 FROM c", Kind.FETCH, "c"),
        ("MOVE c", Kind.FETCH, "c"),
        ("CLOSE c", Kind.CLOSE, "c"),
        ("CLOSE ALL", Kind.CLOSE, ""),
        ("DISCARD ALL", Kind.DISCARD, ""),
        ("COPY t TO STDOUT", Kind.COPY_OUT, ""),
        ("COPY t FROM STDIN", Kind.COPY_IN, ""),
        ("COPY t TO '/tmp/x'", Kind.QUERY, ""),
        ("LISTEN ch", Kind.LISTEN, "ch"),
        ("UNLISTEN *", Kind.UNLISTEN, ""),
        ("NOTIFY ch", Kind.NOTIFY, "ch"),
        ("SET work_mem TO 1", Kind.SET, "work_mem"),
        ("RESET ALL", Kind.SET, ""),
        ("SHOW work_mem", Kind.SHOW, "work_mem"),
        ("SELECT 1", Kind.QUERY, ""),
        ("EXPLAIN ANALYZE EXECUTE p", Kind.QUERY, ""),
    ],
)
def test_kinds_and_names(sql: str, kind: Kind, name: str) -> None:
    (statement,) = parse(sql)
    assert (statement.kind, statement.name) == (kind, name)


def test_what_is_kept_is_told() -> None:
    (statement,) = parse("PREPARE q (int, text) AS -- why\n DELETE FROM t WHERE id = $1")
    assert statement.inner
    assert statement.inner.sql.endswith("DELETE FROM t WHERE id = $1")
    assert statement.inner.action == "sql.delete"
    (statement,) = parse("DECLARE c CURSOR WITH HOLD FOR SELECT substring(x FOR 2) FROM t")
    assert statement.inner
    assert statement.inner.sql == "SELECT substring(x FOR 2) FROM t"
    assert "holdable" in statement.flags


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("DELETE FROM t", True),
        ("UPDATE t SET a = 1", True),
        ("DELETE FROM t WHERE true", True),
        ("DELETE FROM t WHERE 1 = 1 OR $1", True),
        ("WITH d AS (DELETE FROM t) SELECT 1", True),
        ("DELETE FROM t WHERE id = $1", False),
        ("DELETE FROM t WHERE EXISTS (SELECT 1)", False),
        ("DELETE FROM t WHERE CURRENT OF c", False),
        ("SELECT 1", False),
    ],
)
def test_a_missing_where_is_told(sql: str, missing: bool) -> None:
    (statement,) = parse(sql)
    assert statement.where_missing == missing


def test_ctes_hide_relations_only_where_they_are_seen() -> None:
    def reads(sql: str) -> list[str]:
        (statement,) = parse(sql)
        return [str(relation) for relation in statement.reads]

    assert reads("WITH t AS (SELECT 1) SELECT * FROM t") == []
    assert reads("WITH t AS (SELECT * FROM t) SELECT * FROM t") == ["t"]
    assert reads("WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t") == []
    assert reads("WITH t AS (SELECT 1) SELECT * FROM public.t") == ["public.t"]
    assert reads("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x, t") == ["t"]
    assert reads("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a") == ["b"]


def test_a_backslash_is_not_guessed_at() -> None:
    """With standard_conforming_strings off the quote below does not end the constant, and the rest is a comment."""
    text = r"SELECT '\' ; DROP TABLE t; --'"
    assert [each.action for each in parse(text)] == ["sql.select", "sql.drop"]
    (statement,) = parse(text, standard_conforming_strings=False)
    assert statement.action == "sql.unknown"
    assert [each.action for each in parse(r"SELECT E'\'', $$\$$", standard_conforming_strings=False)] == ["sql.select"]


DEEP = 150_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * DEEP,
        "SELECT " + "(" * DEEP + "1" + ")" * DEEP,
        "SELECT 1" + " - 1" * DEEP,
        "SELECT 1" + " UNION SELECT 1" * (DEEP // 4),
        "SELECT 1" + "::int" * DEEP,
        "SELECT " + "NOT " * DEEP + "true",
        "SELECT " + "- " * DEEP + "1",
        "SELECT * FROM a" + " JOIN a ON true" * (DEEP // 4),
        "SELECT " + "CASE WHEN 1 THEN " * (DEEP // 4) + "1" + " END" * (DEEP // 4),
        "SELECT " + "ARRAY[" * DEEP + "1" + "]" * DEEP,
        "SELECT * FROM " + "(SELECT * FROM " * (DEEP // 4) + "t" + ")" * (DEEP // 4),
        "SELECT 1 " + "IS NULL " * (DEEP // 2),
        "SELECT f(" * (DEEP // 4) + ")" * (DEEP // 4),
        "WITH a AS (" * (DEEP // 4) + "SELECT 1",
        "x" * (MAX_TEXT + 1),
        "SELECT 1, " * (DEEP // 2) + "1",
        "SELECT '\0'",
        "SELECT '\ud800'",
        "'" * DEEP,
        "$" * DEEP,
        "/*" * DEEP,
        "SELECT " + "/*" * (DEEP // 2) + "*/" * (DEEP // 2) + "1",
        "SELECT 1 " + "+-" * DEEP,
        "SELECT " + ", ".join(["é"] * (DEEP // 8)),
    ],
    ids=lambda sql: sql[:24].encode("ascii", "replace").decode(),
)
def test_no_text_brings_the_process_down(sql: str) -> None:
    """The parser recurses in C: beyond a depth it would not raise but end."""
    (statement,) = parse(sql)
    assert statement.action == "sql.unknown"
    assert statement.problem
    assert len(statement.problem) < 200


def test_long_lists_are_no_depth() -> None:
    rows = ", ".join(f"({number}, 'x' || 'y', 1 + {number})" for number in range(3_000))
    (statement,) = parse(f"INSERT INTO t VALUES {rows}")
    assert statement.action == "sql.insert"
    (statement,) = parse("SELECT * FROM t WHERE " + " OR ".join(f"(a = {n} AND b <> -{n})" for n in range(3_000)))
    assert statement.action == "sql.select"


WORDS = r"""
select from where delete update insert into values with as ( ) , ; ' " $$ $1 -- /* */ E' U&' :: . * t a b 1 = union
explain copy to program set role do execute prepare \ returning
"""
words = st.sampled_from(WORDS.split())


@given(st.lists(words, max_size=25).map(" ".join) | st.text(max_size=200) | st.text(string.printable, max_size=200))
def test_parse_never_raises(sql: str) -> None:
    for statement in parse(sql):
        assert statement.action in statement.actions
        assert statement.problem or statement.tree is not None
