"""What is recorded of statements and values: masked in every spelling, and an operation with its facts and digest."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.operations import Operation
from services.ingress.classify.sql.operation import Bind, operation
from services.ingress.classify.sql.statements import parse
from services.ingress.inspection import Inspector
from tests.postgres_sql.database import Database

INSPECTOR = Inspector(b"k" * 32)
ADDRESS = "ann@example.com"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT '{ADDRESS}'",
        r"SELECT E'ann\x40example.com'",
        r"SELECT E'\141nn\u0040example\U0000002ecom'",
        r"SELECT U&'ann\0040example.com'",
        r"SELECT U&'ann!0040example!+00002ecom' UESCAPE '!'",
        f"SELECT $${ADDRESS}$$",
        f"SELECT $tag$ to {ADDRESS} $tag$",
        "SELECT 'ann@'\n   'example.com'",
        "SELECT 'ann@' -- here\n 'example.com'",
        f"SELECT 1 -- {ADDRESS}",
        f"SELECT 1 /* {ADDRESS} */",
        f'SELECT 1 AS "{ADDRESS}"',
        r'SELECT 1 AS U&"ann\0040example.com"',
        f"DO $$ BEGIN PERFORM '{ADDRESS}'; END $$",
        r"DO $$ BEGIN PERFORM E'ann\x40example.com'; END $$",
        r"DO $$ BEGIN EXECUTE 'SELECT E''ann\x40example.com'''; END $$",
        r"DO $a$ BEGIN EXECUTE $b$ SELECT E'ann\x40example.com' $b$; END $a$",
        f"SELEKT '{ADDRESS}",
        r"SELEKT E'ann\x40example.com",
        r"SELEKT U&'ann\0040example.com",
        f"COPY t FROM PROGRAM 'mail {ADDRESS}'",
    ],
)
def test_a_value_is_masked_however_it_is_written(sql: str) -> None:
    recorded = INSPECTOR.statement(sql)
    assert recorded.findings == {"EMAIL": 1}
    assert "EMAIL#" in recorded.recorded
    for part in (ADDRESS, r"ann\x40", r"ann\0040", "ann!0040", "'ann@'", r"ann\u0040"):
        assert part not in recorded.recorded


def test_a_statement_without_findings_is_recorded_as_it_is() -> None:
    for sql in ("SELECT 'it''s', E'\\n', $$x$$ FROM t -- why", "", "SELEKT '", "SELECT $1::text[] || '{}'"):
        assert INSPECTOR.statement(sql).recorded == sql


def test_values_are_recorded_masked_below_the_statement() -> None:
    binds = [
        Bind(b"ann@example.com"),
        Bind(b"\0\0\0\x07", binary=True, type=23),
        Bind(None),
        Bind(b"\x01{}", binary=True, type=3802),
        Bind(b"\1\2\3", binary=True, type=17),
        Bind(b"two\nlines 'x'"),
        Bind(b"x" * 5_000),
    ]
    lines = INSPECTOR.statement("SELECT 1", binds).recorded.splitlines()
    assert lines[0] == "SELECT 1"
    assert lines[1].startswith("-- $1 = 'EMAIL#")
    assert lines[2:6] == ["-- $2 = '7'", "-- $3 = NULL", "-- $4 = '{}'", "-- $5 = (3 bytes)"]
    assert lines[6] == "-- $6 = 'two\\nlines ''x'''"
    assert lines[7].endswith("… (5000 characters)'")
    assert len(lines) == 8


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE users SET password = $1",
        "SELECT * FROM users u WHERE u.password = $1::text",
        "SELECT * FROM users WHERE $1 = password",
        "INSERT INTO users (id, password) VALUES (1, $1)",
    ],
)
def test_the_columns_name_tells_that_a_value_is_a_secret(sql: str) -> None:
    recorded = INSPECTOR.statement(sql, [Bind(b"correct-horse-battery")])
    assert recorded.findings["PASSWORD"] >= 1
    assert "correct-horse" not in recorded.recorded


@given(
    st.text(), st.lists(st.builds(Bind, st.none() | st.binary(), st.booleans(), st.sampled_from([0, 17, 23, 25, 3802])))
)
def test_recording_never_fails(sql: str, binds: list[Bind]) -> None:
    recorded = INSPECTOR.statement(sql, binds).recorded
    assert len(recorded.rpartition("-- $")[0].splitlines()) >= 0


def built(database: Database, sql: str, binds: tuple[Bind, ...] = (), **changed: Any) -> Operation:
    given: dict[str, Any] = {
        "connector": "orders",
        "database": "shop",
        "recorded": sql,
        "context": {"search_path": "public"},
        "size": len(sql),
        "key": b"k" * 32,
    }
    return operation(database.resolved(sql), binds, **(given | changed))


def test_an_operation_names_what_it_touches(database: Database) -> None:
    found = built(
        database, "UPDATE orders SET note = name FROM people p JOIN customers c ON c.id = p.id WHERE orders.id = $1"
    )
    assert found.action == "sql.update"
    assert found.resources == ("shop.public.customers", "shop.public.orders", "shop.public.people")
    attributes = found.attributes
    assert attributes["actions"] == ["sql.update", "sql.select"]
    assert attributes["writes"] == ["public.orders"]
    assert attributes["reads"] == ["public.customers", "public.people"]
    assert attributes["columns_written"] == ["public.orders.note"]
    assert "public.customers.name" in attributes["columns_read"]  # type: ignore[operator]
    assert "public.orders.id" in attributes["columns_filtered"]  # type: ignore[operator]
    assert attributes["where_missing"] is False


def test_what_a_comparison_infers_from_is_told(database: Database) -> None:
    for sql in (
        "SELECT id FROM customers WHERE email LIKE 'a%'",
        "SELECT id FROM customers ORDER BY email",
        "SELECT count(*) FROM customers GROUP BY lower(email)",
        "SELECT 1 FROM subscribers JOIN customers USING (email)",
        "SELECT 1 FROM orders WHERE EXISTS (SELECT FROM customers c WHERE c.email = note)",
        "DELETE FROM customers WHERE email = 'x'",
    ):
        assert "public.customers.email" in built(database, sql).attributes["columns_filtered"]  # type: ignore[operator]


def test_the_digest_is_of_everything_that_changes_the_meaning(database: Database) -> None:
    sql = "SELECT $1"
    bind = Bind(b"1", type=23)
    digests = {
        built(database, sql, (bind,)).digest,
        built(database, sql, (dataclasses.replace(bind, raw=b"2"),)).digest,
        built(database, sql, (dataclasses.replace(bind, raw=None),)).digest,
        built(database, sql, (dataclasses.replace(bind, type=25),)).digest,
        built(database, sql, (dataclasses.replace(bind, binary=True),)).digest,
        built(database, sql, (bind, bind)).digest,
        built(database, "SELECT $1 ", (bind,)).digest,
        built(database, "SELECT  $1", (bind,)).digest,
        built(database, sql, (bind,), connector="other").digest,
        built(database, sql, (bind,), context={"search_path": "evil"}).digest,
        built(database, sql, (bind,), key=b"j" * 32).digest,
    }
    assert len(digests) == 10, "only the space at the end changes nothing"
    assert built(database, sql, (bind,), recorded="[masked]").digest in digests


def test_too_many_names_are_not_relied_on(database: Database) -> None:
    many = " UNION ALL ".join(f"SELECT 1 FROM t{number}" for number in range(501))
    (statement,) = parse(many)
    found = operation(statement, (), connector="c", database="d", recorded="", context={}, size=1, key=b"k" * 32)
    assert (found.action, found.resources, found.complete) == ("sql.unknown", (), False)
    assert "tables" not in found.attributes
