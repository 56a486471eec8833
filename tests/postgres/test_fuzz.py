"""Bytes that are no protocol, and good ones in bad pieces: the ingress lives, and nothing runs that was not judged."""

import asyncio
import random
from contextlib import suppress

from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.frontend import (
    PORTAL,
    STATEMENT,
    Bind,
    Close,
    CopyData,
    CopyDone,
    Describe,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
)  # fmt: skip
from tests.conftest import until
from tests.postgres.gateway import Gateway
from tests.postgres.wire import Wire, kinds, rows, through

RULES = """
rules:
  - {name: reads, when: 'action == "sql.select" || action == "sql.prepare"', allow: true}
"""
#: In every statement that must not reach the server, and in none that may.
MARK = "never_to_be_seen"
NAMES = (b"", b"a", b"b")


def message(choose: random.Random) -> bytes:
    """Any message of a client's, well-formed; half of the statements are ones that no rule allows."""
    name, portal = choose.choice(NAMES), choose.choice(NAMES)
    sql = choose.choice(
        (b"SELECT 1", b"SELECT $1::text", b"", b"SELECT 1; SELECT 2", b"SELECT 1/0", b"SELEC",
         f"DELETE FROM {MARK}".encode(), f"SELECT 1; DROP TABLE {MARK}".encode(), f"DO $$ {MARK} $$".encode(),
         f"COPY {MARK} FROM STDIN".encode(), f"PREPARE a AS DELETE FROM {MARK}".encode(), b"EXECUTE a")
    )  # fmt: skip
    made = choose.choice((
        Query(sql), Parse(name, sql), Parse(name, sql), Bind(portal, name), Bind(portal, name, parameters=(b"x",)),
        Describe(STATEMENT, name), Describe(PORTAL, portal), Execute(portal), Execute(portal, 1),
        Close(STATEMENT, name), Close(PORTAL, portal), Flush(), Sync(), Sync(), CopyData(b"x"), CopyDone(),
    ))  # fmt: skip
    return made.encode()


def damaged(choose: random.Random, data: bytes) -> bytes:
    """With a few bytes changed, dropped or doubled."""
    broken = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(broken))
        match choose.randrange(3):
            case 0:
                broken[at] = choose.randrange(256)
            case 1:
                del broken[at]
            case _:
                broken.insert(at, choose.randrange(256))
    return bytes(broken)


async def swallow(wire: Wire) -> None:
    """Read whatever comes, until the connection ends or the last Sync is answered."""
    with suppress(EOFError, OSError):
        while True:
            said = await wire.next()
            if kinds([said]) == "D" and b"the end" in (rows([said])[0][0] or b""):
                return


async def test_every_sequence_of_messages_is_survived(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    choose = random.Random(4711)
    for _ in range(30):
        async with through(gateway) as wire:
            wire.send(*(message(choose) for _ in range(25)), Sync(), Query(b"SELECT 'the end'"))
            await swallow(wire)
    await whole(gateway)


async def test_damaged_bytes_are_survived(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    choose = random.Random(815)
    for _ in range(40):
        async with through(gateway) as wire:
            wire.send(damaged(choose, b"".join(message(choose) for _ in range(8))), Sync())
            wire.writer.write_eof()
            await swallow(wire)
    await whole(gateway)


async def test_one_byte_at_a_time_means_the_same(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    asked = (
        Query(b"SELECT 1, 'one'"), Parse(b"", b"SELECT $1::text"), Bind(b"", b"", parameters=(b"two",)),
        Describe(PORTAL, b""), Execute(b""), Sync(), Query(f"DELETE FROM {MARK}".encode()), Query(b"SELECT 'the end'"),
    )  # fmt: skip
    async with through(gateway) as wire:
        for byte in b"".join(each.encode() for each in asked):
            wire.writer.write(bytes((byte,)))
            await wire.writer.drain()
            await asyncio.sleep(0)
        told = [kinds(await wire.until_ready()) for _ in range(4)]
    assert told == ["TDCZ", "12TDCZ", "EZ", "TDCZ"]
    await whole(gateway)


async def test_a_message_too_large_ends_the_session(gateway: Gateway) -> None:
    await gateway.boot(RULES)
    async with through(gateway) as wire:
        wire.send(bytes((frontend.QUERY,)) + (2**30).to_bytes(4, "big"))
        said = await wire.next()
        assert said["C"] == b"54000"
    await whole(gateway)


async def whole(gateway: Gateway) -> None:
    """The gateway still serves, every attempt has one outcome, and the server saw nothing that was not allowed."""
    async with through(gateway) as wire:
        assert rows(await wire.query("SELECT 'still here'")) == [(b"still here",)]
    assert MARK not in gateway.server.log
    attempts = [event["operation_id"] for event in gateway.events("OperationAttempted")]
    await until(lambda: set(attempts) <= {event["operation_id"] for event in gateway.events("OperationFinished")})
    finished = [event["operation_id"] for event in gateway.events("OperationFinished")]
    assert len(finished) == len(set(finished))
    assert gateway.failures == []
