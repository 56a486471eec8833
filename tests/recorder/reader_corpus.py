"""Queries for the read-only interface: what must be refused, and what must work.

`{secret}` is replaced by a file that no refused query may read, `{out}` by a path none may create.
"""

from __future__ import annotations

REFUSED = """
SELECT * FROM session_keys
SELECT hex(key) FROM countersign.session_keys
SELECT * FROM `session_keys` AS k
SELECT * FROM keyring
SELECT 1 WHERE ('x', 'y', 'z') IN session_keys
DESCRIBE TABLE session_keys
SELECT dictGet('keyring', 'key', ('s', 'AUDIT'))
SELECT joinGet('session_keys', 'key', 's')
SELECT * FROM dictionary('keyring')
SELECT file('{secret}')
SELECT FILE('{secret}')
SELECT `file`('{secret}')
SELECT "file"('{secret}')
SELECT/**/file/**/('{secret}')
SELECT arrayMap(x -> file(x), ['{secret}'])
SELECT * APPLY(file) FROM (SELECT '{secret}')
SELECT * APPLY(x -> file(x)) FROM (SELECT '{secret}')
SELECT * REPLACE (file('{secret}') AS a) FROM (SELECT 1 AS a)
SELECT COLUMNS('a') REPLACE (file('{secret}') AS a) FROM (SELECT 1 AS a)
SELECT 1 WHERE file('{secret}') != ''
SELECT 1 ORDER BY file('{secret}')
SELECT 1 GROUP BY file('{secret}')
SELECT count() FROM numbers(1) HAVING file('{secret}') != ''
SELECT 1 LIMIT length(file('{secret}'))
SELECT sum(1) OVER (PARTITION BY file('{secret}'))
SELECT 1 QUALIFY file('{secret}') != ''
SELECT * FROM numbers(length(file('{secret}')))
WITH file('{secret}') AS f SELECT f
WITH x AS (SELECT file('{secret}')) SELECT * FROM x
WITH (SELECT file('{secret}')) AS f SELECT f
SELECT 1 UNION ALL SELECT length(file('{secret}'))
SELECT 1 EXCEPT SELECT length(file('{secret}'))
SELECT (SELECT file('{secret}'))
SELECT 1 IN (SELECT length(file('{secret}')))
SELECT EXISTS(SELECT file('{secret}'))
SELECT a FROM (SELECT 1 AS a) AS x JOIN (SELECT length(file('{secret}')) AS a) AS y USING a
SELECT 1 AS a FROM numbers(1) ARRAY JOIN [file('{secret}')] AS f
SELECT number FROM numbers(3) ORDER BY number WITH FILL FROM length(file('{secret}'))
SELECT number AS n, 'x' AS s FROM numbers(3) ORDER BY n WITH FILL INTERPOLATE (s AS file('{secret}'))
EXPLAIN SELECT file('{secret}')
EXPLAIN SYNTAX SELECT file('{secret}')
EXPLAIN QUERY TREE SELECT file('{secret}')
EXPLAIN ESTIMATE SELECT * FROM file('{secret}', 'LineAsString')
SELECT * FROM file('{secret}', 'LineAsString')
SELECT * FROM FILE('{secret}', 'LineAsString')
SELECT * FROM fileCluster('c', '{secret}', 'LineAsString')
SELECT * FROM '{secret}'
SELECT * FROM `{secret}`
DESCRIBE file('{secret}', 'LineAsString')
DESCRIBE TABLE file('{secret}')
DESC (SELECT * FROM file('{secret}', 'LineAsString'))
DESCRIBE TABLE system.users
SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')
SELECT * FROM urlCluster('c', 'http://127.0.0.1:1/', 'CSV', 'a String')
SELECT * FROM remote('127.0.0.1', system.one)
SELECT * FROM remoteSecure('127.0.0.1', system.one)
SELECT * FROM cluster('default', system.one)
SELECT * FROM clusterAllReplicas('default', system.one)
SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV', 'a String')
SELECT * FROM gcs('http://127.0.0.1:1/b/k', 'CSV', 'a String')
SELECT * FROM azureBlobStorage('x', 'c', 'b', 'CSV')
SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'CSV', 'a String')
SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')
SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')
SELECT * FROM mongodb('127.0.0.1:1', 'd', 'c', 'u', 'p', 'a String')
SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')
SELECT * FROM sqlite('{secret}', 't')
SELECT * FROM odbc('DSN=x', 'd', 't')
SELECT * FROM jdbc('x', 'd', 't')
SELECT * FROM iceberg('http://127.0.0.1:1/b')
SELECT * FROM deltaLake('http://127.0.0.1:1/b')
SELECT * FROM executable('id', 'TSV', 'a String')
SELECT * FROM python(x)
SELECT * FROM Python(os)
SELECT * FROM input('a String')
SELECT * FROM dictionary('d')
SELECT * FROM merge('system', '.*')
SELECT * FROM merge('.*')
SELECT * FROM view(SELECT file('{secret}'))
SELECT * FROM viewIfPermitted(SELECT 1 ELSE null('a Int8'))
SELECT * FROM (EXPLAIN SELECT 1)
SELECT * FROM loop(system.users)
SELECT * FROM eval('SELECT 1')
SELECT * FROM fuzzQuery('SELECT 1')
SELECT * FROM mergeTreeIndex('countersign', 'reads')
SELECT * FROM generateRandom('a String')
SELECT * FROM null('a String')
SELECT 1 INTO OUTFILE '{out}'
SELECT 1 INTO OUTFILE '{out}' AND STDOUT
SELECT 1 INTO OUTFILE '{out}' APPEND
SELECT 1 INTO OUTFILE '{out}' TRUNCATE FORMAT CSV
SELECT * FROM (SELECT 1) INTO OUTFILE '{out}' COMPRESSION 'gzip'
SHOW TABLES INTO OUTFILE '{out}'
SHOW DATABASES INTO OUTFILE '{out}'
SHOW COLUMNS FROM reads INTO OUTFILE '{out}'
DESCRIBE TABLE reads INTO OUTFILE '{out}'
EXISTS TABLE reads INTO OUTFILE '{out}'
SHOW CREATE TABLE reads INTO OUTFILE '{out}'
EXPLAIN SELECT 1 INTO OUTFILE '{out}'
INSERT INTO reads VALUES (1, 'x')
INSERT INTO reads SELECT 1, 'x'
INSERT INTO FUNCTION file('{out}', 'CSV', 'a String') SELECT 'x'
INSERT INTO FUNCTION file('{out}', 'CSV', 'a String') VALUES ('x')
INSERT INTO reads FROM INFILE '{secret}' FORMAT LineAsString
CREATE TABLE x (a Int8) ENGINE = Memory
CREATE TABLE x ENGINE = Memory AS SELECT 1
CREATE TABLE x AS file('{secret}')
CREATE TEMPORARY TABLE x (a Int8)
CREATE VIEW x AS SELECT 1
CREATE MATERIALIZED VIEW x ENGINE = Memory AS SELECT 1
CREATE DATABASE x
CREATE FUNCTION f AS (x) -> file(x)
CREATE USER x IDENTIFIED BY 'x'
CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(FILE(path '{secret}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)
CREATE NAMED COLLECTION n AS a = 1
ALTER TABLE reads DELETE WHERE 1
ALTER TABLE reads UPDATE s = 'x' WHERE 1
ALTER TABLE reads DROP PARTITION tuple()
ALTER TABLE reads ADD COLUMN x Int8
DELETE FROM reads WHERE 1
UPDATE reads SET s = 'x' WHERE 1
TRUNCATE TABLE reads
DROP TABLE reads
DROP DATABASE countersign
DETACH TABLE reads
ATTACH TABLE reads
RENAME TABLE reads TO writes
EXCHANGE TABLES reads AND reads
OPTIMIZE TABLE reads FINAL
UNDROP TABLE reads
GRANT ALL ON *.* TO default
REVOKE ALL ON *.* FROM default
SET readonly = 0
SET max_execution_time = 0
SET max_threads = 64
SET ROLE NONE
USE system
KILL QUERY WHERE 1
KILL QUERY WHERE file('{secret}') != ''
KILL MUTATION WHERE 1
SYSTEM FLUSH LOGS
SYSTEM SHUTDOWN
SYSTEM STOP MERGES
BACKUP DATABASE countersign TO File('{out}')
RESTORE DATABASE countersign FROM File('{out}')
CHECK TABLE reads
BEGIN TRANSACTION
EXECUTE AS default SELECT 1
SELECT 1; DROP TABLE reads
SELECT 1; SELECT file('{secret}')
EXPLAIN AST SELECT 1; DROP TABLE reads
EXPLAIN AST DROP TABLE reads
EXPLAIN AST CREATE USER x IDENTIFIED BY 'secret'
EXPLAIN AST INSERT INTO reads SELECT 1, 'x'
EXPLAIN INSERT INTO reads SELECT 1, 'x'
EXPLAIN TABLE OVERRIDE numbers(3) COLUMNS (a Int8)
EXPLAIN CURRENT TRANSACTION
SELECT 1 PARALLEL WITH DROP TABLE reads
DROP TABLE reads PARALLEL WITH SELECT 1
SELECT * FROM system.users
SELECT * FROM system.processes
SELECT * FROM system.query_log
SELECT * FROM system.named_collections
SELECT * FROM system.server_settings
SELECT * FROM system.macros
SELECT * FROM system.disks
SELECT * FROM system.certificates
SELECT * FROM system.user_processes
SELECT * FROM `system`.`processes`
SELECT * FROM "system"."processes"
SELECT * FROM (SELECT * FROM system.processes)
SELECT 1 IN system.processes
SELECT 1 IN (`system`.`processes`)
SELECT 1 NOT IN system.processes
SELECT 1 GLOBAL IN system.processes
SELECT in(1, system.processes)
SELECT 1 IN other.secrets
SELECT number FROM numbers(1) WHERE number IN system.processes
SELECT * FROM default.x
SELECT * FROM other.secrets
SELECT a.* FROM countersign.reads AS a JOIN system.processes AS b ON 1
SHOW PROCESSLIST
SHOW GRANTS
SHOW ACCESS
SHOW USERS
SHOW CURRENT USER
SHOW ROLES
SHOW PROFILES
SHOW QUOTAS
SHOW POLICIES
SHOW CREATE USER default
SHOW CREATE TABLE system.processes
SHOW CREATE DATABASE system
SHOW CLUSTERS
SHOW CLUSTER 'x'
SHOW FILESYSTEM CACHES
SHOW MERGES
SHOW DICTIONARIES
SHOW TEMPORARY TABLES
SHOW TABLES FROM other
SHOW TABLES WHERE file('{secret}') != ''
SHOW COLUMNS FROM processes FROM system
SHOW COLUMNS FROM reads WHERE file('{secret}') != ''
SHOW INDEX FROM processes FROM system
SHOW SETTING max_threads
EXISTS TABLE system.processes
EXISTS TEMPORARY TABLE x
EXISTS DATABASE system
EXISTS DICTIONARY d
SELECT dictGet('d', 'a', 1)
SELECT dictGetOrNull('d', 'a', 1)
SELECT dictHas('d', 1)
SELECT joinGet('countersign.j', 'a', 1)
SELECT joinGetOrNull('countersign.j', 'a', 1)
SELECT hasColumnInTable('system', 'users', 'name')
SELECT hostName()
SELECT FQDN()
SELECT serverUUID()
SELECT buildId()
SELECT getMacro('x')
SELECT getServerSetting('max_server_memory_usage')
SELECT getServerPort('tcp_port')
SELECT getClientHTTPHeader('Authorization')
SELECT filesystemAvailable()
SELECT filesystemCapacity()
SELECT currentRequestURL()
SELECT showCertificate()
SELECT regionToName(1)
SELECT addressToLine(1)
SELECT addressToSymbol(1)
SELECT demangle('x')
SELECT logTrace('x')
SELECT sleep(1)
SELECT sleepEachRow(1) FROM numbers(3)
SELECT catboostEvaluate('{secret}', 1)
SELECT evalMLMethod(1, 1)
SELECT aiGenerate('x')
SELECT AIGenerate('x')
SELECT aiEmbed('x')
SELECT structureToProtobufSchema('a Int8')
SELECT zookeeperSessionUptime()
SELECT nonexistentFunction(1)
SELECT fileIf('{secret}', 1)
SELECT fileArray(['{secret}'])
SELECT 1 FORMAT Protobuf
SELECT 1 FORMAT CapnProto
SELECT 1 FORMAT Template
SELECT 1 FORMAT DataFrame
SELECT 1 FORMAT ArrowTable
SELECT 1 SETTINGS readonly = 0
SELECT 1 SETTINGS max_execution_time = 0
SELECT 1 SETTINGS max_threads = 64
SELECT 1 SETTINGS allow_ddl = 1
SELECT 1 SETTINGS format_schema = '{out}'
SELECT 1 FORMAT CSV SETTINGS output_format_schema = '{out}'
SELECT * FROM numbers(1) SETTINGS dialect = 'kusto'
SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)
SELECT * FROM (SELECT 1 SETTINGS readonly = 0)
SELECT 1 IN (SELECT 1 SETTINGS allow_introspection_functions = 1)
EXPLAIN readonly = 0 SELECT 1
EXPLAIN SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)
SELECT * FROM {t:Identifier}
SELECT {t:Identifier}
SELECT * FROM system.{t:Identifier}
COPY reads TO '{out}'
print 1
""".strip().splitlines()

# Query, and what it answers in TabSeparated; None where the answer is not the point.
ALLOWED: dict[str, str | None] = {
    "SELECT 1": "1\n",
    "select 1;": "1\n",
    "SELECT 1 -- comment; DROP TABLE reads": "1\n",
    "/* c */ SELECT ';', 'DROP TABLE reads' AS `a;b`": ";\tDROP TABLE reads\n",
    "SELECT 'it''s', 'a\\\\b', 'x\ny'": "it\\'s\ta\\\\b\tx\\ny\n",
    "SELECT id, s FROM reads ORDER BY id": "1\tone\n2\ttwo\n3\tthree\n",
    "SELECT * FROM countersign.reads ORDER BY id LIMIT 1": "1\tone\n",
    "SELECT count(), max(id), uniqExact(s) FROM reads": "3\t3\t3\n",
    "SELECT COUNT(*), SUM(id), Min(id) FROM reads": "3\t6\t1\n",
    "SELECT countIf(id > 1), sumArrayIf([id], id = 3), quantilesExact(0.5, 1)(id) FROM reads": "2\t3\t[2,3]\n",
    "SELECT id % 2 AS odd, groupArraySorted(9)(id) FROM reads GROUP BY odd ORDER BY odd": "0\t[2]\n1\t[1,3]\n",
    "SELECT s FROM reads WHERE id IN (SELECT number FROM numbers(3)) ORDER BY id": "one\ntwo\n",
    "SELECT s FROM reads WHERE (id, s) IN ((1, 'one'), (2, 'x'))": "one\n",
    "WITH few AS (SELECT id FROM reads WHERE id < 3) SELECT count() FROM reads WHERE id IN few": "2\n",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT sum(n) FROM t": "6\n",
    "SELECT a.id, b.s FROM reads AS a LEFT JOIN reads AS b ON a.id + 1 = b.id ORDER BY a.id": "1\ttwo\n2\tthree\n3\t\n",
    "SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM reads": "1\t1\n2\t3\n3\t5\n",
    "SELECT id, row_number() OVER w FROM reads WINDOW w AS (ORDER BY id DESC) ORDER BY id": "1\t3\n2\t2\n3\t1\n",
    "SELECT * EXCEPT (s) FROM reads ORDER BY id": "1\n2\n3\n",
    "SELECT * APPLY(toString) FROM reads ORDER BY id LIMIT 1": "1\tone\n",
    "SELECT COLUMNS('^i') REPLACE (id * 2 AS id) FROM reads ORDER BY id": "2\n4\n6\n",
    "SELECT 1 UNION ALL SELECT 1": "1\n1\n",
    "SELECT id FROM reads INTERSECT SELECT 2": "2\n",
    "SELECT DISTINCT ON (id % 2) id FROM reads ORDER BY id": "1\n2\n",
    "SELECT id FROM reads ORDER BY id LIMIT 1 OFFSET 1": "2\n",
    "SELECT id FROM reads ORDER BY id LIMIT 1 BY id % 2": "1\n2\n",
    "SELECT number FROM numbers(5) ORDER BY number WITH FILL FROM 0 TO 2 LIMIT 2": "0\n1\n",
    "SELECT arrayMap(x -> x * 2, [1, 2]), map('k', 1)['k'], (1, 'a').2": "[2,4]\t1\ta\n",
    "SELECT arrayJoin([1, 2])": "1\n2\n",
    "SELECT x FROM numbers(1) ARRAY JOIN [3, 4] AS x": "3\n4\n",
    "SELECT toDate('2026-01-02') + INTERVAL 1 DAY, toStartOfHour(toDateTime('2026-01-02 03:04:05', 'UTC'))": "2026-01-03\t2026-01-02 03:00:00\n",  # noqa: E501
    "SELECT if(1, 'a', 'b'), multiIf(0, 1, 2), CASE 1 WHEN 1 THEN 'x' END, coalesce(NULL, 3)": "a\t2\tx\t3\n",
    "SELECT CAST('7' AS UInt8), '8'::UInt8, toTypeName(1)": "7\t8\tUInt8\n",
    "SELECT 'abc' LIKE '%b%', match('abc', 'b.'), 'x' || 'y', EXTRACT(YEAR FROM toDate('2026-01-02'))": "1\t1\txy\t2026\n",  # noqa: E501
    "SELECT JSONExtractString('{\"a\": \"b\"}', 'a'), hex(MD5('x'))": "b\t9DD4E461268C8034F5C8564E155C67A6\n",
    "SELECT EXISTS(SELECT 1), (SELECT 2)": "1\t2\n",
    "SELECT * FROM values('a UInt8, b String', (1, 'x'))": "1\tx\n",
    "SELECT generate_series FROM generate_series(1, 3)": "1\n2\n3\n",
    "SELECT version(), timezone(), currentDatabase()": None,
    "SELECT displayName(), version(), revision(), timezone()": None,
    "SELECT name FROM system.tables WHERE database = 'countersign' AND name = 'reads'": "reads\n",
    "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'reads'": "id\tUInt64\ns\tString\n",  # noqa: E501
    "SELECT name, value, readonly FROM system.settings LIMIT 10000": None,
    "SELECT table_name FROM information_schema.tables WHERE table_name = 'reads'": "reads\n",
    "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'reads'": "reads\n",
    "SELECT 1 FROM system.one": "1\n",
    "SHOW DATABASES LIKE 'counter%'": "countersign\n",
    "SHOW TABLES LIKE 'reads'": "reads\n",
    "SHOW TABLES FROM countersign LIKE 'reads'": "reads\n",
    "SHOW COLUMNS FROM reads": None,
    "SHOW INDEX FROM reads": None,
    "SHOW CREATE TABLE reads": None,
    "SHOW SETTINGS LIKE 'readonly'": None,
    "DESCRIBE TABLE reads": "id\tUInt64\t\t\t\t\t\ns\tString\t\t\t\t\t\n",
    "DESC countersign.reads": "id\tUInt64\t\t\t\t\t\ns\tString\t\t\t\t\t\n",
    "DESCRIBE (SELECT 1 AS a)": "a\tUInt8\t\t\t\t\t\n",
    "EXISTS reads": "1\n",
    "EXISTS TABLE countersign.nothing": "0\n",
    "EXPLAIN SELECT * FROM reads": None,
    "EXPLAIN PIPELINE SELECT * FROM reads": None,
    "EXPLAIN AST SELECT 1": None,
    "EXPLAIN SYNTAX SELECT 1": None,
    "EXPLAIN QUERY TREE SELECT 1": None,
    "EXPLAIN indexes = 1 SELECT * FROM reads WHERE id = 1": None,
    "SELECT number FROM numbers(2) FORMAT JSONEachRow": '{"number":0}\n{"number":1}\n',
    "SELECT 1 AS a FORMAT CSVWithNames": '"a"\n1\n',
    "FROM reads SELECT count()": "3\n",
    "SELECT (1, 2) AS t, t.1": "(1,2)\t1\n",
    "SELECT id FROM reads WHERE id BETWEEN 2 AND 3 AND s IS NOT NULL AND NOT id = 2": "3\n",
}
