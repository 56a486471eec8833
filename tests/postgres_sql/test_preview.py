"""The blast radius: what the preview counts is what the statement then changes, on the real server."""

import pytest

from services.ingress.classify.sql.preview import preview
from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import parse
from tests.postgres_sql.database import Database

COUNTED: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("UPDATE orders SET note = ''", ()),
    ("DELETE FROM customers", ()),
    ("DELETE FROM ONLY orders WHERE id < 3", ()),
    ("UPDATE customers c SET name = $1 WHERE c.id BETWEEN $2::int AND $3::int", ("x", "3", "7")),
    ("DELETE FROM customers WHERE email LIKE $1 AND name <> ''", ("planted1%",)),
    ("UPDATE orders o SET note = c.name FROM customers c WHERE c.id = o.customer_id AND c.id > $1::int", ("2",)),
    ("UPDATE orders SET note = '' FROM customers c, customers d WHERE c.id = orders.id", ()),
    ("DELETE FROM orders o USING customers c JOIN people p USING (id) WHERE c.id = o.id AND p.contact LIKE '%'", ()),
    ("WITH few AS (SELECT id FROM customers WHERE id < $1::int) DELETE FROM orders WHERE id IN (TABLE few)", ("4",)),
    (
        "UPDATE orders SET note = $1 WHERE (id, customer_id) IN ((1, 1), (2, 9)) OR note IS DISTINCT FROM $2",
        ("a", "note 4"),
    ),
    ("DELETE FROM orders WHERE NOT (note ~* 'NOTE [12]') AND id = ANY (ARRAY[1, 3, 5])", ()),
    ("UPDATE orders SET note = U&'\\0061' WHERE note = E'note\\x201' OR note = $$note 2$$", ()),
    ("DELETE FROM orders WHERE CASE WHEN id = 1 THEN true ELSE note LIKE '%5' END", ()),
    ("DELETE FROM orders WHERE EXISTS (SELECT FROM customers c WHERE c.id = orders.id AND c.id % 2 = 0)", ()),
)


@pytest.mark.parametrize(("sql", "values"), COUNTED, ids=[sql for sql, _ in COUNTED])
def test_the_count_is_what_is_changed(database: Database, sql: str, values: tuple[object, ...]) -> None:
    counting = preview(database.resolved(sql))
    assert counting.problem == ""
    used = [values[number - 1] for number in counting.parameters]
    connection = database.connection
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL default_transaction_read_only = on")
        ((counted,),) = raw(database, counting.sql, used)
        changed = count_changed(database, sql, values)
    assert counted == changed


def raw(database: Database, sql: str, values: list[object]) -> list[tuple[int]]:
    cursor = database.connection.cursor()
    result = cursor.connection.pgconn.exec_params(sql.encode(), [str(value).encode() for value in values] or None)
    assert not result.error_message, result.error_message
    return [(int(result.get_value(0, 0) or b""),)]


def count_changed(database: Database, sql: str, values: tuple[object, ...]) -> int:
    result = database.connection.pgconn.exec_params(sql.encode(), [str(value).encode() for value in values] or None)
    assert not result.error_message, result.error_message
    return result.command_tuples or 0


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT 1", "not an UPDATE or DELETE"),
        ("INSERT INTO orders VALUES (1)", "not an UPDATE or DELETE"),
        ("DELETE FROM orders WHERE CURRENT OF c", "it is about a cursor's current row"),
        (
            "WITH x AS (DELETE FROM customers RETURNING id) DELETE FROM orders WHERE id IN (TABLE x)",
            "its WITH changes data",
        ),
        ("DELETE FROM orders WHERE refund() = 1", "it calls a function that does something"),
        ("UPDATE orders SET note = '' WHERE pg_advisory_lock(1) IS NULL", "it calls a function that does something"),
    ],
)
def test_what_cannot_be_counted_says_why(database: Database, sql: str, why: str) -> None:
    counting = preview(database.resolved(sql))
    assert (counting.sql, counting.problem) == ("", why)


def test_the_statement_itself_is_left_as_it_is(database: Database) -> None:
    """Trees are kept and shared: building one from another must not change it."""
    sql = "DELETE FROM orders o USING customers c WHERE c.id = o.id"
    first, second = preview(database.resolved(sql)), preview(database.resolved(sql))
    assert first == second
    assert database.resolved(sql).action == "sql.delete"


def test_execute_with_values_is_not_guessed_at(database: Database) -> None:
    (prepared,) = parse("PREPARE q AS DELETE FROM orders WHERE id = $1")
    (execute,) = parse("EXECUTE q(1)")
    assert preview(resolve(execute, database.catalog, {"q": prepared})).problem
