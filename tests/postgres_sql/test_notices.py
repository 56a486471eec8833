"""Errors, notices and NOTIFY: what a server says beside rows does not quote what is masked."""

from functools import partial

import psycopg
import pytest

from services.ingress.classify.sql.words import words
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.telling import UNTOLD, NoticeMasker
from services.ingress.masking.scanner import scanner_for
from tests.postgres_sql.database import PLANTED, Database

COLUMNS = NoticeMasker(True, None, Replacer())
CONTENT = NoticeMasker(False, scanner_for(frozenset({"pii"})), Replacer())

#: Statements that make the server quote a customer's address.
ECHOES = (
    "INSERT INTO customers SELECT 500, 'x', email FROM customers WHERE id = 1",
    "INSERT INTO customers SELECT id, name, email FROM customers ON CONFLICT (id) DO UPDATE SET id = NULL",
    "SELECT email::int FROM customers",
    "SELECT email::date FROM customers",
    "SELECT email::json FROM customers",
    "SELECT email::uuid FROM customers",
    "SELECT ('{' || email)::int[] FROM customers",
    "SELECT to_number(email, email), email::inet FROM customers",
    "SELECT ''::text ~ ('(' || email) FROM customers",
    "SELECT set_config('TimeZone', email, true) FROM customers",
    "SELECT encode(decode(email, 'base64'), 'hex') FROM customers",
    "SELECT now() AT TIME ZONE email FROM customers",
    "SELECT convert_from(convert_to(email, 'UTF8') || '\\xff', 'UTF8') FROM customers",
    # names that are made of values
    "SELECT email::regclass FROM customers",
    "SELECT email::regtype FROM customers",
    "SELECT email::regrole FROM customers",
    "SELECT translate(email, '@.', '')::regrole FROM customers",
    "SELECT email::regproc FROM customers",
    "SELECT translate(email, '@.', '++')::regoper FROM customers",
    "SELECT email::regconfig FROM customers",
    "SELECT translate(email, '@.', '')::regnamespace FROM customers",
    "SELECT replace(email, '.', ' ')::tsquery FROM customers",
    "SELECT to_tsquery(replace(email, '.', ' ')) FROM customers",
    "SELECT current_setting(email) FROM customers",
    "SELECT current_setting('customers\" ' || email || ' \"customers') FROM customers",
    "SELECT current_setting('customers\" of relation \"' || email) FROM customers",
    "SELECT has_table_privilege(email, 'select') FROM customers",
    "SELECT has_schema_privilege(email, 'usage') FROM customers",
    "SELECT has_database_privilege(email, 'connect') FROM customers",
    "SELECT pg_has_role(email, 'usage') FROM customers",
    "SELECT has_language_privilege(email, 'usage') FROM customers",
    "SELECT has_tablespace_privilege(email, 'create') FROM customers",
    "SELECT has_column_privilege('customers', email, 'select') FROM customers",
    "SELECT pg_get_serial_sequence('customers', email) FROM customers",
    "SELECT to_ascii(name, email) FROM customers",
    "SELECT to_ascii(name, '\"customers\" is not a ' || translate(email, '@.', '')) FROM customers",
    "SELECT convert(name::bytea, email, 'UTF8') FROM customers",
    "SELECT nextval(email) FROM customers",
    "SELECT pg_read_file(email) FROM customers",
    "SELECT lo_get(length(email)::oid), date_trunc(email, now()) FROM customers",
    "DO $$ BEGIN RAISE '%', (SELECT email FROM customers LIMIT 1); END $$",
    "DO $$ BEGIN RAISE '%', (SELECT email FROM customers LIMIT 1) USING ERRCODE = '42P01'; END $$",
    "DO $$ BEGIN RAISE USING MESSAGE = 'x', HINT = (SELECT email FROM customers LIMIT 1), ERRCODE = '23505'; END $$",
    "DO $$ BEGIN RAISE USING MESSAGE = 'x', DETAIL = (SELECT email FROM customers LIMIT 1), ERRCODE = '23505'; END $$",
    "DO $$ BEGIN EXECUTE (SELECT email FROM customers LIMIT 1); END $$",
    "DO $$ BEGIN ASSERT false, (SELECT email FROM customers LIMIT 1); END $$",
    "CREATE UNIQUE INDEX ON customers (left(email, 7))",
    "ALTER TABLE customers ALTER email TYPE int USING email::int",
    "ALTER TABLE customers ADD CHECK (email = '')",
)


def told(error: psycopg.errors.Diagnostic) -> dict[str, str]:
    names = {
        "S": "severity", "C": "sqlstate", "M": "message_primary", "D": "message_detail", "H": "message_hint",
        "P": "statement_position", "p": "internal_position", "q": "internal_query", "W": "context", "s": "schema_name",
        "t": "table_name", "c": "column_name", "d": "datatype_name", "n": "constraint_name", "F": "source_file",
        "L": "source_line", "R": "source_function",
    }  # fmt: skip
    return {code: value for code, name in names.items() if (value := getattr(error, name)) is not None}


@pytest.mark.parametrize("sql", ECHOES)
@pytest.mark.parametrize("masker", [COLUMNS, CONTENT], ids=["columns", "content"])
def test_an_error_that_echoes_a_value_does_not_show_it(database: Database, sql: str, masker: NoticeMasker) -> None:
    with pytest.raises(psycopg.Error) as caught:
        database.answer(sql)
    fields = told(caught.value.diag)
    shown = masker.fields(fields, partial(words, sql))
    assert PLANTED not in " ".join(shown.values()) or masker is CONTENT
    assert "@secret.example" not in " ".join(shown.values())
    assert shown["C"] == fields["C"]
    assert shown["M"]


def test_notices_raised_by_code_are_not_shown(database: Database) -> None:
    heard: list[dict[str, str]] = []
    database.connection.add_notice_handler(lambda diagnostic: heard.append(told(diagnostic)))
    database.answer("DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END $$")
    database.answer("CREATE TABLE IF NOT EXISTS customers (id int)")
    raised, own = heard
    assert PLANTED in raised["M"]
    assert COLUMNS.fields(raised)["M"] == UNTOLD
    assert COLUMNS.fields(own, lambda: ("customers",))["M"] == 'relation "customers" already exists, skipping'


def test_errors_about_names_stay_readable(database: Database) -> None:
    for sql, message in (
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT nothing FROM customers", 'column "nothing" does not exist'),
        ("SELECT 1/0", "division by zero"),
        ("SELECT '\"Nowhere\".x'::regclass", 'relation "Nowhere.x" does not exist'),
        ("DROP VIEW nowhere", 'view "nowhere" does not exist'),
        ("DROP VIEW customers", '"customers" is not a view'),
        ("EXECUTE nothing", 'prepared statement "nothing" does not exist'),
        ("SELECT current_setting('no.such')", 'unrecognized configuration parameter "no.such"'),
        ("INSERT INTO orders VALUES (1)", 'duplicate key value violates unique constraint "orders_pkey"'),
        ("SELECT name::regrole FROM customers", UNTOLD),
        ("SELEKT", 'syntax error at or near "SELEKT"'),
    ):
        with pytest.raises(psycopg.Error) as caught:
            database.answer(sql)
        assert COLUMNS.fields(told(caught.value.diag), partial(words, sql))["M"] == message


def test_a_key_keeps_its_columns_and_loses_its_values() -> None:
    fields = {"C": "23505", "M": "duplicate key", "D": "Key (lower(email), id)=(a)=(b) x, 1) already exists."}
    assert COLUMNS.fields(fields)["D"] == "Key (lower(email), id)=([COLUMN]) already exists."
    assert "D" not in COLUMNS.fields({"C": "23502", "M": "null", "D": "Failing row contains (1, a@b.example)."})


def test_payloads() -> None:
    assert COLUMNS.payload('{"email": "x"}') == "[COLUMN]"
    assert COLUMNS.payload("") == ""
    assert CONTENT.payload("for ann@example.com") == "for [EMAIL]"
