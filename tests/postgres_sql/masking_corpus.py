"""Ways to read a masked column: each statement with the output columns that must be masked, and no others.

The rules are `customers.email` and its likes; `database.SCHEMA` has the tables, with a value planted in each address.
"""

from collections.abc import Iterator

RULES = ("customers.email", "mirrored.email", "clients.email")

_MASKED: tuple[tuple[str, set[int]], ...] = (
    # names
    ("SELECT email FROM customers", {0}),
    ("SELECT id, email AS id2 FROM customers", {1}),
    ('SELECT "email" FROM public."customers"', {0}),
    ('SELECT U&"\\0065mail" FROM customers', {0}),
    ("SELECT c.email AS name, c.name AS email FROM customers c", {0}),
    ("SELECT public.customers.email FROM public.customers", {0}),
    ("SELECT x FROM customers AS c(a, b, x)", {0}),
    ("SELECT * FROM customers", {2}),
    ("SELECT c.*, 1 FROM customers c", {2}),
    ("TABLE customers", {2}),
    ("SELECT email FROM ONLY customers", {0}),
    ("SELECT email FROM customers TABLESAMPLE bernoulli(100)", {0}),
    # expressions
    ("SELECT lower(email), upper(name) FROM customers", {0}),
    ("SELECT email || '', id + 0 FROM customers", {0}),
    ("SELECT email::varchar, CAST(email AS text), id::text FROM customers", {0, 1}),
    ("SELECT substr(email, 1, 3), left(name, 3) FROM customers", {0}),
    ("SELECT CASE WHEN email LIKE 'p%' THEN 1 ELSE 0 END, id FROM customers", {0}),
    ("SELECT coalesce(email, 'x'), nullif(name, 'x') FROM customers", {0}),
    ("SELECT email = 'x', email IS NULL, id IS NULL FROM customers", {0, 1}),
    ("SELECT id, ARRAY[email], ARRAY[name] FROM customers", {1}),
    ("SELECT ROW(id, email), ROW(id, name) FROM customers", {0}),
    ("SELECT md5(email), length(email), ascii(email) FROM customers", {0, 1, 2}),
    ("SELECT format('%s', email), concat(id, name) FROM customers", {0}),
    ("SELECT to_json(email), jsonb_build_object('id', id) FROM customers", {0}),
    ("SELECT regexp_matches(email, '(.*)@'), id FROM customers", {0}),
    ('SELECT email COLLATE "C", (email), id FROM customers', {0, 1}),
    ("SELECT greatest(email, name), least(id, 1) FROM customers", {0}),
    ("SELECT convert_to(email, 'UTF8'), encode(email::bytea, 'hex') FROM customers", {0, 1}),
    # whole rows
    ("SELECT c FROM customers c", {0}),
    ("SELECT customers FROM customers", {0}),
    ("SELECT c::text, c.id FROM customers c", {0}),
    ("SELECT row_to_json(c), c.id FROM customers c", {0}),
    ("SELECT to_jsonb(c.*) FROM customers c", {0}),
    ("SELECT (c).* FROM customers c", {2}),
    ("SELECT hstore_like(c) FROM customers c", {0}),
    ("SELECT c.hstore_like FROM customers c", {0}),
    ("SELECT json_agg(x) FROM (SELECT id, email FROM customers) x", {0}),
    ("SELECT x FROM (SELECT count(*), email FROM customers GROUP BY 2) x", {0}),
    ("SELECT array_agg(c) FROM customers c", {0}),
    # aggregates and windows
    ("SELECT string_agg(email, ','), count(*) FROM customers", {0}),
    ("SELECT array_agg(email ORDER BY id), max(id) FROM customers", {0}),
    ("SELECT min(email), max(email), count(email) FROM customers", {0, 1}),
    ("SELECT mode() WITHIN GROUP (ORDER BY email) FROM customers", {0}),
    ("SELECT first_value(email) OVER (ORDER BY id), row_number() OVER () FROM customers", {0}),
    ("SELECT lag(email) OVER w, id FROM customers WINDOW w AS (ORDER BY id)", {0}),
    ("SELECT email, count(*) FROM customers GROUP BY email", {0}),
    ("SELECT DISTINCT email, 1 FROM customers", {0}),
    # sub-selects, CTEs, LATERAL
    ("SELECT a FROM (SELECT id, email FROM customers) q(i, a)", {0}),
    ("SELECT o.id, (SELECT email FROM customers c WHERE c.id = o.customer_id) FROM orders o", {1}),
    ("SELECT ARRAY(SELECT email FROM customers), 1", {0}),
    ("SELECT 'x' IN (SELECT email FROM customers), 1", {0}),
    ("SELECT (SELECT (SELECT (SELECT email)) FROM customers LIMIT 1)", {0}),
    ("WITH x AS (SELECT email AS e FROM customers) SELECT e, 1 FROM x", {0}),
    ("WITH x(id, a) AS (SELECT * FROM (SELECT id, email FROM customers) y) SELECT a, id FROM x", {0}),
    ("WITH customers AS (SELECT id, name AS email FROM customers) SELECT email FROM customers", set()),
    ("WITH a AS (SELECT email FROM customers), b AS (SELECT * FROM a) SELECT b.*, 1 FROM b", {0}),
    (
        "WITH RECURSIVE r(n, e) AS (SELECT 1, email FROM customers UNION ALL SELECT n + 1, e FROM r WHERE n < 3)"
        " SELECT n, e FROM r",
        {1},
    ),
    (
        "WITH RECURSIVE r(n, a, b, c) AS (SELECT 1, '', '', email FROM customers"
        " UNION ALL SELECT n + 1, b, c, c FROM r WHERE n < 4) SELECT n, a FROM r",
        {1},
    ),
    ("SELECT s.e FROM orders o, LATERAL (SELECT email AS e FROM customers c WHERE c.id = o.customer_id) s", {0}),
    ("SELECT v.b, v.a FROM customers c CROSS JOIN LATERAL (VALUES (c.email, c.id)) v(a, b)", {1}),
    ("SELECT u FROM customers, unnest(ARRAY[email]) u", {0}),
    ("SELECT * FROM (VALUES (1, (SELECT email FROM customers LIMIT 1))) v", {1}),
    # set operations and joins
    ("SELECT note FROM orders UNION ALL SELECT email FROM customers", {0}),
    ("SELECT name, 1 FROM customers UNION SELECT email, 2 FROM customers", {0}),
    ("SELECT email FROM customers EXCEPT SELECT '' INTERSECT SELECT ''", {0}),
    ("SELECT * FROM orders JOIN customers ON customers.id = orders.customer_id", {5}),
    ("SELECT * FROM customers JOIN orders USING (id)", {2}),
    ("SELECT * FROM customers NATURAL JOIN orders", {2}),
    ("SELECT email FROM customers JOIN subscribers USING (email)", {0}),
    ("SELECT * FROM subscribers JOIN customers USING (email)", {0}),
    ("SELECT j.c3 FROM (customers c JOIN orders o ON true) AS j(c1, c2, c3)", {0}),
    ("SELECT a.id, b.email FROM customers a LEFT JOIN customers b ON a.id = b.id", {1}),
    # views, inheritance, partitions, search_path
    ("SELECT * FROM people", {1}),
    ("SELECT contact FROM people", {0}),
    ("SELECT * FROM deep", {1}),
    ("SELECT summary FROM deep", {0}),
    ("SELECT * FROM stored", {1}),
    ("SELECT handle, id FROM evil.customers_view", {0}),
    ("SELECT * FROM evil.customers", {0}),
    ("SELECT old.email, new.id FROM customers old, customers new", {0}),
    ("SELECT * FROM mirrored", {1, 2}),
    ("SELECT next, upside || '' FROM mirrored", {1}),
    # functions of the database's own, and those that read by themselves
    ("SELECT emails()", {0}),
    ("SELECT * FROM emails()", {0}),
    ("SELECT id, contact_of(id) FROM customers", {1}),
    ("SELECT x.* FROM contacts() x", {0, 1}),
    ("SELECT most_common_vals, tablename FROM pg_stats", {0}),
    ("SELECT histogram_bounds::text FROM pg_stats", {0}),
    ("SELECT query FROM pg_stat_activity", {0}),
    # what is written and given back
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING id, email", {1}),
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING old.email, new.name", {0}),
    ("DELETE FROM orders o USING customers c WHERE c.id = o.customer_id RETURNING o.id, c.email", {1}),
    ("INSERT INTO customers SELECT id + 100, name, 'x' || email FROM customers RETURNING *", {2}),
    ("MERGE INTO orders o USING customers c ON c.id = o.id WHEN MATCHED THEN DO NOTHING RETURNING c.email, o.id", {0}),
    ("WITH u AS (UPDATE customers SET name = name RETURNING *) SELECT * FROM u", {2}),
    # none of it
    ("SELECT id, name FROM customers WHERE email LIKE 'p%' ORDER BY email", set()),
    ("SELECT count(*), count(DISTINCT email) FROM customers", set()),
    ("SELECT id, note FROM orders WHERE EXISTS (SELECT FROM customers WHERE email = note)", set()),
    ("SELECT * FROM orders", set()),
    ("SELECT 'email', 'customers.email'", set()),
    ("SELECT o.email FROM (SELECT note AS email FROM orders) o", set()),
    ("SELECT relname FROM pg_class", set()),
    ("SHOW server_version", set()),
    ("EXPLAIN SELECT email FROM customers", set()),
    ("EXPLAIN SELECT contact_of(1)", {0}),
)

#: Ways in several steps; each line is one query string. What is said of them is only that nothing comes out.
CONVERSATIONS: tuple[tuple[str, ...], ...] = (
    ("PREPARE q AS SELECT $1::text || ''", "EXECUTE q(contact_of(1))", "EXPLAIN (VERBOSE) EXECUTE q(contact_of(1))"),
    ("PREPARE q AS SELECT $1", "EXECUTE q(table_to_xml('customers', true, false, '')::text)"),
    (
        "PREPARE q(text) AS INSERT INTO orders (id, note) VALUES (900, $1)",
        "EXECUTE q(table_to_xml('customers', true, false, '')::text)",
        "SELECT note FROM orders",
    ),
    (
        "CREATE VIEW v1 AS SELECT id, name FROM customers",
        "SELECT 1",
        "CREATE OR REPLACE VIEW v1 AS SELECT id, email AS name FROM customers; SELECT name || '' FROM v1",
    ),
    (
        "SELECT note || '' FROM orders",
        "CREATE TEMP VIEW orders AS SELECT id, email AS note FROM customers; SELECT note || '' FROM orders",
    ),
    (
        "CREATE VIEW v2 AS SELECT id, email AS name FROM customers",
        "DECLARE c CURSOR WITH HOLD FOR SELECT name || '' AS x FROM v2",
        "CREATE OR REPLACE VIEW v2 AS SELECT id, name FROM customers",
        "FETCH ALL FROM c",
    ),
    (
        "CREATE VIEW v3 AS SELECT id, email AS x FROM customers",
        "CREATE MATERIALIZED VIEW mv3 AS SELECT id, x FROM v3",
        "CREATE OR REPLACE VIEW v3 AS SELECT id, name AS x FROM customers",
        "SELECT x FROM mv3",
    ),
    ("CREATE OR REPLACE VIEW below AS SELECT id, name AS contact FROM customers", "SELECT contact || '' FROM above"),
    ("ALTER TABLE mirrored ALTER upside DROP EXPRESSION", "SELECT reverse(upside) FROM mirrored"),
    ("ALTER TABLE customers ADD low text GENERATED ALWAYS AS (lower(email)) STORED", "SELECT low FROM customers"),
    ("ALTER TABLE customers ALTER name TYPE text USING email", "SELECT name FROM customers"),
    (
        "CREATE TABLE once (email text UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        "BEGIN; INSERT INTO once SELECT 'planted'; INSERT INTO once SELECT 'planted'",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "ROLLBACK; BEGIN; INSERT INTO once SELECT 'planted'; INSERT INTO once SELECT 'planted'",
        "COMMIT",
    ),
)


def reading() -> Iterator[tuple[str, frozenset[int]]]:
    """Each statement with the columns to mask."""
    return ((sql, frozenset(masked)) for sql, masked in _MASKED)
