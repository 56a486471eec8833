# values of every common type
SELECT 1
SELECT -1::int2
SELECT 9223372036854775807
SELECT 1.5::float4
SELECT 'NaN'::float8
SELECT '-Infinity'::float8
SELECT 123456789.987654321::numeric
SELECT '0.1e-10'::numeric
SELECT true, false, NULL::bool
SELECT 'text', 'with ''quotes'''
SELECT E'line\nbreak\ttab'
SELECT U&'d\0061t\+000061'
SELECT $$dollar $ quoted$$, $tag$with $$ inside$tag$
SELECT '\xdeadbeef'::bytea
SELECT 'x'::"char"
SELECT 'pad'::char(10)
SELECT '{1,2,NULL,3}'::int[]
SELECT '{{a,b},{c,"d,e"}}'::text[]
SELECT ARRAY[[1,2],[3,4]]
SELECT '{}'::text[]
SELECT '[2020-01-01,2020-02-01)'::daterange
SELECT int4range(1, 10)
SELECT '2001-02-03'::date
SELECT '2001-02-03 04:05:06.789'::timestamp
SELECT '2001-02-03 04:05:06+02'::timestamptz
SELECT '04:05:06'::time
SELECT '04:05:06+01'::timetz
SELECT '1 year 2 months 3 days 04:05:06'::interval
SELECT 'infinity'::timestamp
SELECT '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid
SELECT '{"a": [1, 2, {"b": null}]}'::json
SELECT '{"b": 1, "a": 2}'::jsonb
SELECT '<a>b</a>'::text
SELECT '192.168.0.1/24'::inet
SELECT '08:00:2b:01:02:03'::macaddr
SELECT '(1,2)'::point
SELECT '((0,0),(1,1))'::box
SELECT B'1010', X'1F'::bit(8)
SELECT '$1,234.56'::money
SELECT ROW(1, 'two', NULL)
SELECT ROW(1, ROW(2, 3))
SELECT NULL
SELECT 'pg_class'::regclass::text
SELECT 'a & b'::tsquery
SELECT to_tsvector('english', 'the quick brown fox')
SELECT 1::oid, 'x'::name
SELECT 'émoji 😀 ünïcode'
SELECT repeat('long ', 5000)
# expressions and functions
SELECT 1 + 2 * 3, 7 / 2, 7 % 3, 2 ^ 10
SELECT 7 / 2.0, round(2.567, 2), trunc(-1.5)
SELECT abs(-5), ceil(1.2), floor(-1.2), sign(-3)
SELECT greatest(1, 5, 3), least(1, 5, 3)
SELECT coalesce(NULL, NULL, 'third'), nullif(1, 1)
SELECT CASE WHEN 1 > 2 THEN 'no' ELSE 'yes' END
SELECT CASE 3 WHEN 1 THEN 'one' WHEN 3 THEN 'three' END
SELECT 'a' || 'b' || 1
SELECT length('héllo'), octet_length('héllo')
SELECT upper('abc'), lower('ABC'), initcap('hello world')
SELECT substring('postgres' from 5 for 3)
SELECT position('b' in 'abc'), strpos('abc', 'c')
SELECT trim(both 'x' from 'xxhixx'), ltrim('  a'), rtrim('a  ')
SELECT lpad('7', 3, '0'), rpad('7', 3, '-')
SELECT replace('banana', 'an', 'AN'), translate('abc', 'abc', 'xyz')
SELECT split_part('a,b,c', ',', 2)
SELECT string_to_array('a,b,c', ',')
SELECT array_to_string(ARRAY[1,2,3], '-')
SELECT array_length(ARRAY[1,2,3], 1), cardinality('{}'::int[])
SELECT unnest(ARRAY[1,2,3])
SELECT 1 = ANY(ARRAY[1,2]), 3 = ALL(ARRAY[3,3])
SELECT regexp_replace('foobar', 'o+', 'O', 'g')
SELECT regexp_matches('foobarbaz', 'ba.', 'g')
SELECT 'abc' LIKE 'a%', 'abc' ILIKE 'A_C', 'abc' ~ '^a', 'abc' SIMILAR TO 'a%'
SELECT to_char(1234.5, '9,999.99'), to_char(date '2020-02-03', 'DD Mon YYYY')
SELECT to_date('03 Feb 2020', 'DD Mon YYYY'), to_number('1,234.5', '9,999.9')
SELECT extract(year from date '2020-02-03'), date_part('dow', date '2020-02-03')
SELECT date_trunc('month', timestamp '2020-02-03 04:05:06')
SELECT age(timestamp '2020-02-03', timestamp '2019-01-01')
SELECT date '2020-02-28' + 2, date '2020-03-01' - date '2020-02-01'
SELECT timestamp '2020-01-31' + interval '1 month'
SELECT make_date(2020, 2, 3), make_interval(days => 3)
SELECT '{"a": {"b": 7}}'::json -> 'a' ->> 'b'
SELECT '{"a": 1}'::jsonb @> '{"a": 1}', '{"a": 1}'::jsonb ? 'a'
SELECT jsonb_set('{"a": 1}', '{b}', '2')
SELECT json_build_object('a', 1, 'b', ARRAY[1,2])
SELECT jsonb_agg(n) FROM generate_series(1, 3) n
SELECT jsonb_path_query('[1,2,3]', '$[*] ? (@ > 1)')
SELECT md5('x'), encode(sha256('x'), 'hex')
SELECT encode('\x00ff', 'base64'), decode('AP8=', 'base64')
SELECT generate_series(1, 10, 3)
SELECT generate_series(timestamp '2020-01-01', '2020-01-03', '1 day')
SELECT current_user, session_user, current_schema
SELECT current_setting('server_encoding')
SELECT pg_typeof(1), pg_typeof('x'::text), pg_typeof(ARRAY[1.5])
SELECT format('%s and %I and %L', 'a', 'B c', 'd''e')
SELECT quote_ident('A b'), quote_literal('it''s'), quote_nullable(NULL)
SELECT width_bucket(5, 0, 10, 5)
SELECT 1 IS DISTINCT FROM NULL, NULL IS NULL
SELECT (ROW(1,2)).f1
SELECT (SELECT max(n) FROM generate_series(1, 5) n)
SELECT EXISTS (SELECT 1 WHERE false)
SELECT 1 WHERE false
SELECT 3 IN (1, 2, 3), 4 NOT IN (1, 2, NULL)
SELECT '2020-01-01'::date BETWEEN '2019-01-01' AND '2021-01-01'
# tables
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2) DEFAULT 9.99 CHECK (price >= 0), tags text[], at timestamp)
CREATE TABLE IF NOT EXISTS items (id int)
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, item int REFERENCES items, amount int, UNIQUE (item, amount))
CREATE INDEX items_name ON items (name)
CREATE UNIQUE INDEX items_lower ON items (lower(name))
INSERT INTO items VALUES (1, 'pen', 1.20, '{blue,red}', '2020-01-01')
INSERT INTO items (id, name) VALUES (2, 'book'), (3, 'lamp'), (4, 'desk')
INSERT INTO items (id, name) SELECT n, 'thing ' || n FROM generate_series(10, 20) n
INSERT INTO items VALUES (1, 'pen again')
INSERT INTO items VALUES (1, 'pen two') ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!'
INSERT INTO items VALUES (1, 'x') ON CONFLICT DO NOTHING
INSERT INTO items (id) VALUES (99)
INSERT INTO items VALUES (98, 'bad', -1)
INSERT INTO items (id, name) VALUES (30, 'returned') RETURNING *
INSERT INTO orders (item, amount) VALUES (1, 10), (2, 20), (2, 30) RETURNING id, amount * 2
INSERT INTO orders (item, amount) VALUES (777, 1)
SELECT * FROM items ORDER BY id
SELECT name AS "The Name", price * 2 AS double FROM items WHERE price < 5
SELECT count(*), sum(price), avg(price), min(name), max(name) FROM items
SELECT tags, array_length(tags, 1) FROM items WHERE tags IS NOT NULL
SELECT item, sum(amount) FROM orders GROUP BY item HAVING sum(amount) > 10 ORDER BY 1
SELECT i.name, o.amount FROM items i JOIN orders o ON o.item = i.id ORDER BY 2
SELECT i.name, o.amount FROM items i LEFT JOIN orders o ON o.item = i.id ORDER BY i.id, 2 LIMIT 5
SELECT i.id, o.item FROM items i FULL JOIN orders o ON o.item = i.id ORDER BY 1, 2 OFFSET 3
SELECT a.id, b.id FROM items a CROSS JOIN items b WHERE a.id < 3 AND b.id < 3 ORDER BY 1, 2
SELECT DISTINCT price FROM items ORDER BY 1
SELECT DISTINCT ON (price) price, name FROM items ORDER BY price, name
SELECT id, rank() OVER (ORDER BY price), lag(id) OVER (ORDER BY id) FROM items ORDER BY id
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM items ORDER BY id
SELECT price, count(*) FILTER (WHERE id > 3) FROM items GROUP BY GROUPING SETS ((price), ()) ORDER BY 1
WITH cheap AS (SELECT * FROM items WHERE price < 5) SELECT count(*) FROM cheap
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t
WITH gone AS (DELETE FROM items WHERE id = 20 RETURNING id) SELECT * FROM gone
WITH added AS (INSERT INTO items (id, name) VALUES (40, 'cte') RETURNING id) SELECT id + 1 FROM added
SELECT id FROM items WHERE id < 3 UNION SELECT 2 UNION ALL SELECT 7 ORDER BY 1
SELECT id FROM items INTERSECT SELECT 1
SELECT id FROM items WHERE id < 5 EXCEPT SELECT 1 ORDER BY 1
SELECT i.name, l.total FROM items i, LATERAL (SELECT sum(amount) total FROM orders WHERE item = i.id) l ORDER BY 1
SELECT * FROM items WHERE id IN (SELECT item FROM orders) ORDER BY id
SELECT row_to_json(i) FROM items i WHERE id < 3 ORDER BY id
SELECT json_agg(i ORDER BY id) FROM items i WHERE id < 3
SELECT i FROM items i WHERE id = 2
TABLE orders
VALUES (1, 'a'), (2, 'b')
UPDATE items SET price = price + 1 WHERE id = 1
UPDATE items SET price = price + 1 WHERE id < 3 RETURNING id, price
UPDATE items SET name = o.amount::text FROM orders o WHERE o.item = items.id AND items.id = 2
UPDATE items SET price = -5 WHERE id = 1
UPDATE items SET id = 2 WHERE id = 1
DELETE FROM items WHERE id = 19
DELETE FROM items WHERE id = 18 RETURNING *
DELETE FROM items WHERE id = 1
DELETE FROM items USING orders WHERE false
MERGE INTO items i USING (VALUES (3, 'merged')) v(id, name) ON i.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name)
SELECT * FROM items WHERE id = 3 FOR UPDATE
SELECT * FROM items ORDER BY id FETCH FIRST 2 ROWS ONLY
CREATE VIEW cheap AS SELECT id, name FROM items WHERE price < 10
SELECT * FROM cheap ORDER BY id LIMIT 3
CREATE MATERIALIZED VIEW totals AS SELECT item, sum(amount) AS total FROM orders GROUP BY item
SELECT * FROM totals ORDER BY 1
REFRESH MATERIALIZED VIEW totals
CREATE TABLE copied AS SELECT * FROM orders
CREATE TABLE empty AS SELECT * FROM orders WITH NO DATA
SELECT * INTO copied2 FROM orders
CREATE TABLE likeness (LIKE items INCLUDING ALL)
ALTER TABLE items ADD COLUMN note text DEFAULT 'none'
ALTER TABLE items RENAME COLUMN note TO remark
ALTER TABLE items ALTER COLUMN remark SET NOT NULL
ALTER TABLE items DROP COLUMN remark
ALTER TABLE copied RENAME TO copies
ALTER TABLE nowhere ADD COLUMN x int
COMMENT ON TABLE items IS 'what is sold'
TRUNCATE copies
TRUNCATE items
DROP TABLE copies, copied2
DROP TABLE IF EXISTS never_there
DROP TABLE never_there
DROP VIEW cheap
DROP TABLE items
CREATE TEMP TABLE scratch (a int, b text) ON COMMIT PRESERVE ROWS
INSERT INTO scratch SELECT n, 'row ' || n FROM generate_series(1, 500) n
SELECT * FROM scratch ORDER BY a
SELECT a, repeat(b, 20) FROM scratch ORDER BY a DESC
DROP TABLE scratch
CREATE TABLE parts (id int, kind text) PARTITION BY LIST (kind)
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')
INSERT INTO parts VALUES (1, 'a')
INSERT INTO parts VALUES (2, 'z')
SELECT tableoid::regclass::text, * FROM parts
CREATE TABLE parent (a int)
CREATE TABLE child (b int) INHERITS (parent)
INSERT INTO child VALUES (1, 2)
SELECT * FROM parent
SELECT * FROM ONLY parent
# schemas, types, functions, sequences
CREATE SCHEMA side
CREATE TABLE side.t (n int)
INSERT INTO side.t VALUES (1)
SELECT * FROM side.t
SET search_path TO side, public
SHOW search_path
SELECT * FROM t
RESET search_path
SELECT * FROM t
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')
SELECT 'ok'::mood < 'happy'::mood
SELECT 'angry'::mood
CREATE TYPE pair AS (a int, b text)
SELECT (1, 'x')::pair, ((2, 'y')::pair).b
CREATE DOMAIN positive AS int CHECK (VALUE > 0)
SELECT 5::positive
SELECT (-5)::positive
CREATE SEQUENCE counter START 5
SELECT nextval('counter'), nextval('counter')
SELECT currval('counter')
SELECT setval('counter', 100)
CREATE FUNCTION twice(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n * 2'
SELECT twice(21)
CREATE FUNCTION loud() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'loud: %', 42; RAISE WARNING 'louder'; RETURN 'done'; END $$
SELECT loud()
CREATE FUNCTION many() RETURNS TABLE (a int, b text) LANGUAGE sql AS $$ VALUES (1, 'x'), (2, 'y') $$
SELECT * FROM many()
SELECT many()
CREATE PROCEDURE does(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := n + 1; END $$
CALL does(4)
DO $$ BEGIN RAISE NOTICE 'from a block'; END $$
DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = 'P1234', DETAIL = 'the detail', HINT = 'the hint'; END $$
DO $$ BEGIN RAISE INFO 'info'; RAISE LOG 'log'; RAISE DEBUG 'debug'; END $$
CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT nothing'
DROP FUNCTION twice(int)
DROP FUNCTION nowhere()
CREATE ROLE nobody_may
GRANT SELECT ON side.t TO nobody_at_all
GRANT SELECT ON side.t TO svc_md5
REVOKE SELECT ON side.t FROM svc_md5
DROP SCHEMA side
DROP SCHEMA side CASCADE
CREATE EXTENSION nowhere_to_be_found
LOCK TABLE orders
ANALYZE orders
VACUUM orders
REINDEX TABLE orders
# errors
SELEC 1
SELECT
SELECT FROM WHERE
SELECT * FROM nowhere
SELECT nothing
SELECT nothing FROM orders
SELECT 1 / 0
SELECT 'x'::int
SELECT 'not a date'::date
SELECT 99999999999::int
SELECT 1 + 'x'::text
SELECT nofunction(1)
SELECT sum(amount), item FROM orders
SELECT * FROM orders WHERE amount
SELECT (SELECT amount FROM orders)
SELECT 'unterminated
SELECT "no column"
SELECT ARRAY[1, 'x']
SELECT '{"a":'::json
SELECT '{1,2'::int[]
INSERT INTO orders VALUES (1, 2, 3, 4, 5)
INSERT INTO orders (nocolumn) VALUES (1)
UPDATE orders SET nocolumn = 1
DELETE FROM nowhere
SELECT * FROM pg_authid
SELECT pg_read_file('/etc/passwd')
SELECT set_config('no.such', 'x', false)
SET nonsense = 1
SHOW nonsense
SELECT repeat('x', -1), substring('x', 5)
SELECT sqrt(-1)
SELECT ln(0)
SELECT to_date('x', 'YYYY')
SELECT 1::bit(3) || 'x'
COMMIT PREPARED 'nothing'
CLOSE nowhere
FETCH 1 FROM nowhere
EXECUTE nowhere
DEALLOCATE nowhere
SAVEPOINT outside
ROLLBACK TO outside
# transactions
BEGIN
SELECT 1
SAVEPOINT a
SELECT 1 / 0
SELECT 'failed now'
ROLLBACK TO a
RELEASE a
COMMIT
BEGIN
SELECT nothing
COMMIT
BEGIN; SELECT 1; COMMIT
COMMIT
ROLLBACK
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY
SHOW transaction_isolation
INSERT INTO orders (item, amount) VALUES (3, 3)
ROLLBACK
START TRANSACTION READ WRITE
SET LOCAL work_mem = '1MB'
SHOW work_mem
ABORT
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SELECT 1; SELECT 2; SELECT 3
SELECT 1; SELECT 1 / 0; SELECT 3
INSERT INTO parent VALUES (7); SELECT 1 / 0
SELECT a FROM parent WHERE a = 7
BEGIN; INSERT INTO parent VALUES (8); ROLLBACK; SELECT count(*) FROM parent WHERE a = 8
;;
SELECT 1;
SELECT 1 -- a comment at the end
/* before */ SELECT /* within */ 1 /* after */
-- nothing but a comment
# settings, prepared statements, cursors, notifications, COPY
SET application_name = 'corpus'
SHOW application_name
SET DateStyle = 'German, DMY'
SELECT date '2020-02-03'
RESET DateStyle
SET TimeZone = 'Europe/Paris'
SELECT timestamptz '2020-02-03 04:05:06+00'
SET TimeZone = 'UTC'
SET client_encoding = 'LATIN1'
SELECT chr(233)
SELECT chr(8364)
SET client_encoding = 'UTF8'
SET extra_float_digits = 0
SELECT 0.1::float8 + 0.2::float8
RESET extra_float_digits
SET bytea_output = 'escape'
SELECT '\x610062'::bytea
RESET bytea_output
SET client_min_messages = 'debug1'
RESET client_min_messages
SET standard_conforming_strings = off
SELECT 'a\\b'
SET standard_conforming_strings = on
SHOW server_version_num
PREPARE plus AS SELECT $1::int + $2::int
EXECUTE plus(1, 2)
EXECUTE plus(1)
EXECUTE plus('x', 2)
PREPARE plus AS SELECT 1
DEALLOCATE plus
EXECUTE plus(1, 2)
PREPARE ins AS INSERT INTO parent VALUES ($1) RETURNING a
EXECUTE ins(5)
DISCARD ALL
BEGIN
DECLARE cur SCROLL CURSOR FOR SELECT generate_series(1, 10)
FETCH 3 FROM cur
FETCH BACKWARD 1 FROM cur
MOVE 2 IN cur
FETCH ALL FROM cur
CLOSE cur
FETCH 1 FROM cur
ROLLBACK
BEGIN
DECLARE held CURSOR WITH HOLD FOR SELECT 'held'
COMMIT
FETCH ALL FROM held
CLOSE ALL
LISTEN channel
NOTIFY channel, 'hello'
SELECT pg_notify('channel', 'again')
UNLISTEN *
COPY (VALUES (1, 'a'), (2, NULL)) TO STDOUT
COPY (SELECT n, 'x' || n FROM generate_series(1, 200) n) TO STDOUT (FORMAT csv, HEADER)
COPY (SELECT 1, 'a') TO STDOUT (FORMAT binary)
COPY nowhere TO STDOUT
COPY parent FROM STDIN
COPY parent TO '/tmp/nowhere'
COPY parent TO PROGRAM 'cat'
EXPLAIN SELECT 1
EXPLAIN (COSTS off) SELECT * FROM parent WHERE a > 5
EXPLAIN (COSTS off, VERBOSE, FORMAT JSON) SELECT a + 1 FROM parent
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT 1
SELECT relname FROM pg_class WHERE relname = 'pg_type'
SELECT column_name FROM information_schema.columns WHERE table_name = 'parent'
SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'parent'::regclass AND attnum > 0
SELECT pg_get_viewdef('pg_tables'::regclass)
SELECT n, repeat('x', n * 1000) FROM generate_series(1, 50) n
SELECT generate_series(1, 20000)
SELECT repeat('large', 200000)
SELECT NULL, '', ' '
SELECT 1 AS a, 2 AS a
SELECT 1 AS "weird ""name"" with spaces"
SELECT
SELECT 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 256, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276, 277, 278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297, 298, 299
