"""A lane keeps order and pace, waits out a 429 in place, and gives up on one that never ends."""

import asyncio

import pytest

from services.approver.slack.lane import MAX_HELD, Lane, Lanes
from services.approver.slack.people import by_address
from services.approver.slack.web import RateLimited, Rejected
from services.runtime.settings import SettingsError
from services.runtime.settings.model import Person
from services.runtime.tasks import TaskGroup


class Sent:
    """What left, and the limits still to be met."""

    def __init__(self, limited: int = 0) -> None:
        self.order: list[int] = []
        self.limited = limited
        self.calls = 0

    async def send(self, number: int) -> int:
        self.calls += 1
        if self.limited:
            self.limited -= 1
            raise RateLimited(0.01)
        self.order.append(number)
        return number


async def test_whoever_came_first_goes_first_even_past_a_429() -> None:
    lane, sent = Lane(pace=0.001), Sent(limited=2)
    results = await asyncio.gather(*(lane.run(lambda number=number: sent.send(number)) for number in range(8)))
    assert sent.order == results == list(range(8))


async def test_a_429_without_end_is_handed_back_and_the_next_goes_on() -> None:
    lane, sent = Lane(pace=0.001), Sent(limited=MAX_HELD + 1)
    with pytest.raises(RateLimited):
        await lane.run(lambda: sent.send(0))
    assert sent.calls == MAX_HELD + 1
    assert await lane.run(lambda: sent.send(1)) == 1


async def test_another_refusal_is_not_repeated() -> None:
    calls: list[None] = []

    async def refuse() -> None:
        calls.append(None)
        raise Rejected("channel_not_found")

    with pytest.raises(Rejected):
        await Lane().run(refuse)
    assert len(calls) == 1


async def test_the_pace_starts_after_a_burst() -> None:
    now = [100.0]
    lane, sent = Lane(pace=5, burst=2, clock=lambda: now[0]), Sent()
    await lane.run(lambda: sent.send(0))
    await lane.run(lambda: sent.send(1))
    waiting = TaskGroup("test").start(lane.run(lambda: sent.send(2)), "third")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent.order == [0, 1]
    assert not lane.idle
    waiting.cancel()
    now[0] += 5
    await asyncio.gather(waiting, return_exceptions=True)
    assert await lane.run(lambda: sent.send(3)) == 3


def test_each_channel_has_one_lane() -> None:
    lanes = Lanes()
    assert lanes.of("#a") is lanes.of("#a")
    assert lanes.of("#a") is not lanes.of("#b")


def test_one_address_stands_for_one_person() -> None:
    with pytest.raises(SettingsError, match="twice"):
        by_address([Person(email="a@example.com"), Person(email="A@example.com")])
