"""The same agent at the shop's database: an ordinary driver, the connector as database, the token as password."""

import asyncio

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from examples.demo import screen
from examples.demo.stage import Stage

#: Read through a view and an alias: the rule names `customers.email`, and it follows the column.
READ = "SELECT name, reachable_at AS how FROM contacts ORDER BY name"
DROP = "DROP TABLE orders"
WRITE = "UPDATE orders SET state = 'refunded' WHERE customer_id = 1"


async def ask(stage: Stage, token: str) -> None:
    """Read, try to drop, and write once a person has seen how many rows that is."""
    agent = await AsyncConnection.connect(
        host=stage.database_host,
        port=stage.database_port,
        dbname="shop-db",
        user="support-agent",
        password=token,
        autocommit=True,
    )
    async with agent:
        agent.add_notice_handler(lambda notice: screen.event("gateway", notice.message_primary or ""))
        await _read(agent)
        await _drop(agent)
        await _write(agent)


async def _read(agent: AsyncConnection[TupleRow]) -> None:
    rows = await _rows(agent, READ)
    screen.table(["name", "how"], rows)
    screen.expect("no address left the gateway, whatever the column is called", "@" in str(rows), False)


async def _drop(agent: AsyncConnection[TupleRow]) -> None:
    screen.event("agent", DROP)
    try:
        await agent.execute(sql.SQL(DROP))
    except psycopg.errors.InsufficientPrivilege as refused:
        screen.event("gateway", f"ERROR {refused.sqlstate}: {refused.diag.message_primary}", "red")
    else:
        raise screen.Different("the table was dropped")
    screen.expect("nothing was dropped", await _rows(agent, "SELECT count(*) FROM orders"), [(3,)])


async def _write(agent: AsyncConnection[TupleRow]) -> None:
    screen.event("agent", WRITE)
    async with asyncio.timeout(360):
        cursor = await agent.execute(sql.SQL(WRITE))
    screen.expect("the update ran once a person had approved it", cursor.statusmessage, "UPDATE 2")


async def _rows(agent: AsyncConnection[TupleRow], query: str) -> list[TupleRow]:
    screen.event("agent", query)
    cursor = await agent.execute(sql.SQL(query))
    return await cursor.fetchall()
