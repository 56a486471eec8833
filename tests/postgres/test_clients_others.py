"""asyncpg, SQLAlchemy and psql as people use them, through the gateway."""

import asyncio
import os
import ssl
import subprocess
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import ForeignKey, String, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
from sqlalchemy.pool import NullPool

from tests.postgres.gateway import CONNECTOR, Gateway
from tests.postgres.test_clients_psycopg import TLS, on_a_thread


async def asyncpg_options(gateway: Gateway, sslmode: str = "disable") -> dict[str, Any]:
    await gateway.boot(**({"listen": {"tls": "auto"}} if sslmode == "require" else {}))
    host, port = gateway.address
    context = ssl.create_default_context(cafile=gateway.data.keys / "ca.pem") if sslmode == "require" else False
    return {
        "host": host, "port": port, "database": CONNECTOR, "user": "agent", "password": gateway.token(), "ssl": context,
        "timeout": 30,
    }  # fmt: skip


@TLS
async def test_asyncpg(gateway: Gateway, sslmode: str) -> None:
    connection = await asyncpg.connect(**await asyncpg_options(gateway, sslmode))
    try:
        await connection.execute("CREATE TABLE t (n int PRIMARY KEY, word text, price numeric)")
        await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", [(n, f"w{n}", Decimal(n)) for n in range(20)])
        rows = await connection.fetch("SELECT * FROM t WHERE n = ANY($1::int[]) ORDER BY n", [3, 5])
        assert [tuple(row) for row in rows] == [(3, "w3", Decimal(3)), (5, "w5", Decimal(5))]
        async with connection.transaction():
            cursor = await connection.cursor("SELECT n FROM t ORDER BY n")
            assert [row["n"] for row in await cursor.fetch(5)] == [0, 1, 2, 3, 4]
            assert [row["n"] for row in await cursor.fetch(100)] == list(range(5, 20))
        statement = await connection.prepare("SELECT word FROM t WHERE n = $1")
        assert [await statement.fetchval(n) for n in (1, 2)] == ["w1", "w2"]
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO t VALUES (1)")
        copied = await connection.copy_records_to_table("t", records=[(n, "c", None) for n in range(100, 2100)])
        assert copied == "COPY 2000"
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.2)
        assert await connection.fetchval("SELECT count(*) FROM t") == 2020
    finally:
        await connection.close()


async def test_asyncpg_pool_resets_sessions(gateway: Gateway) -> None:
    async with asyncpg.create_pool(**await asyncpg_options(gateway), min_size=1, max_size=3) as pool:

        async def one(number: int) -> int:
            async with pool.acquire() as connection:
                await connection.execute(f"SET application_name = 'n{number}'")
                return int(await connection.fetchval("SELECT $1::int", number))

        assert await asyncio.gather(*map(one, range(12))) == list(range(12))
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW application_name") == ""


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", cascade="all, delete-orphan")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[Decimal]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")


async def test_sqlalchemy(gateway: Gateway) -> None:
    await gateway.boot()
    host, port = gateway.address
    url = f"postgresql+psycopg://agent:{gateway.token()}@{host}:{port}/{CONNECTOR}?sslmode=disable"

    def work() -> None:
        engine = create_engine(url, poolclass=NullPool)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all(
                Customer(email=f"c{n}@example.com", orders=[Order(total=Decimal(n)), Order(total=Decimal(2 * n))])
                for n in range(30)
            )
            session.commit()
            found = session.scalars(select(Customer).options(selectinload(Customer.orders)).order_by(Customer.id)).all()
            assert sum(order.total for customer in found for order in customer.orders) == 3 * sum(range(30))
            session.delete(found[0])
            session.add(Customer(email=found[1].email))
            with pytest.raises(IntegrityError):
                session.commit()
            session.rollback()
        assert inspect(engine).get_table_names() == ["customers", "orders"]
        assert [column["name"] for column in inspect(engine).get_columns("orders")] == ["id", "total", "customer_id"]
        Base.metadata.drop_all(engine)
        engine.dispose()

    await on_a_thread(work)


async def test_sqlalchemy_with_asyncpg(gateway: Gateway) -> None:
    await gateway.boot()
    host, port = gateway.address
    url = f"postgresql+asyncpg://agent:{gateway.token()}@{host}:{port}/{CONNECTOR}?ssl=disable"
    engine = create_async_engine(url, pool_size=2)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with async_sessionmaker(engine)() as session:
            session.add(Customer(email="a@example.com", orders=[Order(total=Decimal("1.50"))]))
            await session.commit()
            found = (await session.scalars(select(Customer).options(selectinload(Customer.orders)))).one()
            assert [order.total for order in found.orders] == [Decimal("1.50")]
        async with engine.connect() as connection:
            result = await connection.stream(text("SELECT n FROM generate_series(1, 1000) n"))
            assert [row.n async for row in result] == list(range(1, 1001))
    finally:
        await engine.dispose()


def psql(gateway: Gateway, script: str, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """psql with a script on its standard input."""
    command = [str(gateway.server.programs / "psql"), "-X", "-q", "-A", "-t", *arguments, gateway.dsn(**options)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(
        command, input=script, text=True, capture_output=True, timeout=60, check=False, env=environment
    )


SCRIPT = r"""
CREATE TABLE customers (id int PRIMARY KEY, email text);
\copy customers from pstdin with (format csv)
1,ada@example.com
2,grace@example.com
\.
SELECT * FROM customers ORDER BY id;
\d customers
\dt
BEGIN;
SAVEPOINT one;
SELECT 1/0;
ROLLBACK TO one;
UPDATE customers SET email = 'x' WHERE id = 2;
COMMIT;
\copy customers to pstdout with (format csv)
SELECT 1 AS a \; SELECT 2 AS b;
SELECT email FROM customers WHERE id = $1 \bind 1 \g
\echo :SERVER_VERSION_NUM
"""


async def test_psql(gateway: Gateway) -> None:
    await gateway.boot()
    done = await on_a_thread(lambda: psql(gateway, SCRIPT))
    lines = done.stdout.splitlines()
    assert lines[:2] == ["1|ada@example.com", "2|grace@example.com"]
    assert "id|integer||not null|" in lines
    assert f"public|customers|table|{gateway.settings['connectors'][CONNECTOR]['credential']['user']}" in lines
    assert lines[-6:-1] == ["1,ada@example.com", "2,x", "1", "2", "ada@example.com"]
    assert lines[-1].startswith("18")
    assert [line for line in done.stderr.splitlines() if "ERROR" in line] == ["ERROR:  division by zero"]
    assert done.returncode == 0


async def test_psql_with_a_wrong_token(gateway: Gateway) -> None:
    await gateway.boot()
    done = await on_a_thread(lambda: psql(gateway, "SELECT 1", password="wrong-token"))
    assert done.returncode == 2
    assert "FATAL" in done.stderr
    assert "wrong-token" not in done.stderr
