"""The database that the corpora are about, and what the gateway does with a statement, without the gateway."""

from dataclasses import dataclass
from typing import Any

import psycopg

from services.ingress.classify.sql import catalog
from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.model import Statement
from services.ingress.classify.sql.resolving import resolve
from services.ingress.classify.sql.statements import parse
from services.ingress.masking.rows.fields import Field
from tests.postgres.server import Server

#: Stands in every e-mail address; nothing may show it.
PLANTED = "planted"

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, note text);
CREATE TABLE subscribers (email text, since date);
INSERT INTO customers SELECT g, 'name ' || g, 'planted' || g % 7 || '.' || g || '@secret.example'
  FROM generate_series(1, 40) g;
INSERT INTO orders SELECT g, g, 'note ' || g FROM generate_series(1, 5) g;
INSERT INTO subscribers SELECT email, '2024-01-01' FROM customers;
CREATE SEQUENCE numbers;
CREATE VIEW people AS SELECT id, email AS contact FROM customers;
CREATE VIEW deep AS SELECT p.id, 'at ' || p.contact AS summary FROM (SELECT * FROM people) p;
CREATE MATERIALIZED VIEW stored AS SELECT id, lower(email) AS low FROM customers;
CREATE VIEW below AS SELECT id, email AS contact FROM customers;
CREATE MATERIALIZED VIEW above AS SELECT id, contact FROM below;
CREATE TABLE clients (id int, email text) PARTITION BY LIST (id);
CREATE TABLE clients_one PARTITION OF clients FOR VALUES IN (1);
CREATE TABLE others (id int, note text) PARTITION BY LIST (id);
CREATE TABLE others_one PARTITION OF others FOR VALUES IN (1);
CREATE TABLE mirrored (id int, email text, upside text GENERATED ALWAYS AS (reverse(email)) STORED,
  next int GENERATED ALWAYS AS (id + 1) STORED);
CREATE TABLE heirs (more text) INHERITS (mirrored);
INSERT INTO mirrored (id, email) SELECT id, email FROM customers;
CREATE SCHEMA evil;
CREATE VIEW evil.customers AS SELECT id AS email, name FROM public.customers;
CREATE VIEW evil.customers_view AS SELECT id, contact AS handle FROM people;
CREATE FUNCTION refund() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION void(orders) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION hits(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE OPERATOR @! (LEFTARG = int, RIGHTARG = int, FUNCTION = hits);
CREATE VIEW busy AS SELECT refund() AS r;
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE FUNCTION emails() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT email FROM customers';
CREATE FUNCTION contacts() RETURNS TABLE (i int, e text) LANGUAGE sql STABLE AS 'SELECT id, email FROM customers';
CREATE FUNCTION contact_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION hstore_like(customers) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
CREATE PROCEDURE settle() LANGUAGE sql AS 'SELECT 1';
ANALYZE customers;
"""


@dataclass(frozen=True)
class Answer:
    """A result as the server sends it, by the simple protocol."""

    fields: tuple[Field, ...]
    rows: tuple[tuple[bytes | None, ...], ...]


@dataclass(frozen=True)
class Database:
    """One connection, and what is known of the database."""

    connection: psycopg.Connection
    catalog: Catalog

    def resolved(self, sql: str, catalog: Catalog | None = None) -> Statement:
        """The one statement of a text, as it is judged."""
        (statement,) = parse(sql)
        return resolve(statement, catalog or self.catalog)

    def answer(self, sql: str, *, binary: bool = False) -> Answer:
        """Run it, in a transaction that is rolled back."""
        with self.connection.transaction(force_rollback=True):
            cursor = self.connection.execute(sql, binary=binary)  # type: ignore[arg-type]
            return _answer(cursor)

    def plan(self, sql: str) -> Any:
        """PostgreSQL's own plan of it."""
        ((found,),) = self.connection.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {sql}").fetchall()  # type: ignore[arg-type]
        return found


def opened(server: Server, name: str) -> Database:
    """Made anew, with `SCHEMA` in it."""
    server.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
    server.execute(SCHEMA, name)
    return Database(server.connect(name), catalog_of(server, name).within(("public",)))


def catalog_of(server: Server, name: str) -> Catalog:
    """Read as the session does, on a connection of its own."""
    with server.connect(name) as side:
        return read_catalog(side)


def read_catalog(connection: psycopg.Connection) -> Catalog:
    """Read within what the connection sees; its search path is what it was."""
    with connection.transaction(force_rollback=True):
        results = {key: _answer(connection.execute(sql)).rows for key, sql in catalog.QUERIES.items()}  # type: ignore[call-overload]
    text = {key: [tuple(v and v.decode() for v in row) for row in rows] for key, rows in results.items()}
    return catalog.read("corpus", text)


def _answer(cursor: Any) -> Answer:
    result = cursor.pgresult
    fields = tuple(
        Field(
            (result.fname(at) or b"").decode(),
            result.ftable(at),
            result.ftablecol(at),
            result.ftype(at),
            result.fformat(at) == 1,
        )
        for at in range(result.nfields)
    )
    rows = tuple(tuple(result.get_value(row, at) for at in range(result.nfields)) for row in range(result.ntuples))
    return Answer(fields, rows)
