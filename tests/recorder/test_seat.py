"""seat.py on a real bucket: of several copies that reach for the seat at once, one gets it."""

import asyncio

import pytest

from schemas import subjects as s
from services.recorder.position import Position
from services.recorder.seat import Deposed, Seat, Writer
from tests.conftest import Bus


class Clock:
    """A monotonic clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def seats(bus: Bus, clock: Clock, *writers: Writer) -> list[Seat]:
    """The same seat as seen by several copies, each on its own connection."""
    found = []
    for writer in writers:
        bucket = await (await bus.connect("recorder")).jetstream().key_value(s.RECORDER_BUCKET)
        found.append(Seat(bucket, "AUDIT", writer, lease=6.0, clock=clock))
    return found


async def test_of_many_one_takes_it(bus: Bus) -> None:
    rivals = await seats(bus, Clock(), *(Writer(f"copy-{number}") for number in range(5)))
    taken = await asyncio.gather(*(seat.take() for seat in rivals))
    assert sum(taken) == 1


async def test_of_two_claims_one_counts(bus: Bus) -> None:
    clock = Clock()
    slow, quick = await seats(bus, clock, Writer("slow"), Writer("quick"))
    assert await slow.take()
    assert not await quick.take()
    clock.now = 6.0
    assert await quick.take()
    await quick.move(lambda now: now.claim(100))
    with pytest.raises(Deposed):
        await slow.move(lambda now: now.claim(90))
    assert quick.position.claimed == 100


async def test_an_heir_finds_the_open_claim(bus: Bus) -> None:
    clock = Clock()
    first, heir = await seats(bus, clock, Writer("first"), Writer("heir"))
    await first.take()
    claimed = await first.move(lambda now: now.claim(7))
    await heir.take()
    clock.now = 6.0
    await heir.take()
    assert heir.position.token("AUDIT") == claimed.token("AUDIT")


async def test_a_seat_that_was_left_is_free_at_once(bus: Bus) -> None:
    one, other = await seats(bus, Clock(), Writer("one"), Writer("other"))
    await one.take()
    await one.release()
    assert await other.take()


async def test_in_the_same_place_nobody_waits_for_the_dead(bus: Bus) -> None:
    dead, born, stranger = await seats(
        bus, Clock(), Writer("1", place="here"), Writer("2", place="here"), Writer("3", place="there")
    )
    await dead.take()
    assert not await stranger.take()
    assert await born.take()


async def test_a_deleted_entry_is_begun_anew(bus: Bus) -> None:
    (seat,) = await seats(bus, Clock(), Writer("one"))
    await seat.take()
    await seat.move(lambda now: now.claim(5))
    await (await (await bus.connect("admin")).jetstream().key_value(s.RECORDER_BUCKET)).delete("AUDIT")
    with pytest.raises(Deposed):
        await seat.move(Position.settle)
    assert await seat.take()
    assert seat.position.stored == seat.position.claimed == 0
