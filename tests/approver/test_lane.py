"""The pace of messages, and whose turn it is to send them."""

import pytest
from nats.js.kv import KeyValue

from schemas import subjects
from services.approver.people import by_address
from services.approver.slack import lease
from services.approver.slack.lane import Pace, Paces, wait
from services.approver.slack.lease import LASTS, TAKEOVER, Hold, acquire
from services.approver.slack.mirror import Seen
from services.approver.slack.sheet import Lease, lease_key
from services.approver.slack.web import TIMEOUT
from services.runtime.settings import SettingsError
from services.runtime.settings.model import Person
from tests.conftest import Bus

LANE = "#agent-approvals"


class Time:
    """Seconds, turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_after_a_burst_one_goes_each_period() -> None:
    time = Time()
    pace, went = Pace(2, 3, time), []
    while len(went) < 5:
        if pace.wait:
            time.now += pace.wait
        pace.take()
        went.append(time.now - 100)
    assert went == [0, 0, 0, 2, 4]


def test_a_quiet_spell_gives_the_burst_back_and_no_more() -> None:
    time = Time()
    pace = Pace(1, 2, time)
    for _ in range(2):
        pace.take()
    time.now += 1000
    for _ in range(2):
        assert pace.wait == 0
        pace.take()
    assert pace.wait == 1


def test_a_429_holds_everything_back_for_as_long_as_slack_asks() -> None:
    time = Time()
    pace = Pace(1, 3, time)
    pace.hold(7)
    assert pace.wait == 7
    time.now += 7
    assert pace.wait == 0
    pace.take()
    assert pace.wait == 1  # and no burst after it


def test_channels_share_the_workspace_but_not_their_pace() -> None:
    time = Time()
    paces = Paces(clock=time)
    one = paces.post("#a")
    while not wait(one):
        for pace in one:
            pace.take()
    assert wait(paces.post("#b")) == 0
    for number in range(20):
        for pace in paces.post(f"#{number}"):
            pace.take()
    assert wait(paces.post("#c")) > 0
    assert wait(paces.update()) == 0


async def bucket_of(bus: Bus) -> KeyValue:
    return await (await bus.connect("approver")).jetstream().key_value(subjects.DELIVERIES_BUCKET)


async def seen(bucket: KeyValue, since: float) -> Seen[Lease]:
    entry = await bucket.get(lease_key(LANE))
    assert entry.value
    assert entry.revision
    return Seen(entry.revision, Lease.model_validate_json(entry.value), since)


async def test_one_copy_holds_a_lane_until_it_gives_it_back(bus: Bus) -> None:
    bucket = await bucket_of(bus)
    first = await acquire(bucket, LANE, "one", None)
    assert first
    assert await acquire(bucket, LANE, "two", None) is None
    await first.release()
    assert not first.covers(0)
    assert await acquire(bucket, LANE, "two", None)


async def test_a_dead_holders_lane_is_taken_over_by_one_of_those_who_wait(bus: Bus) -> None:
    bucket, time = await bucket_of(bus), Time()
    first = await acquire(bucket, LANE, "one", None, time)
    assert first
    known = await seen(bucket, time.now)
    time.now += LASTS
    assert not first.covers(0)  # its time is over ...
    assert await acquire(bucket, LANE, "two", known, time) is None  # ... before another's begins
    time.now += TAKEOVER - LASTS
    assert await acquire(bucket, LANE, "two", known, time)
    assert await acquire(bucket, LANE, "three", known, time) is None


async def test_a_holder_that_was_replaced_learns_so_when_it_renews(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0)
    bucket = await bucket_of(bus)
    first = await acquire(bucket, LANE, "one", None)
    assert isinstance(first, Hold)
    assert await acquire(bucket, LANE, "two", await seen(bucket, -TAKEOVER), lambda: 0)
    await first.keep()
    assert not first.covers(0)


def test_a_call_to_slack_is_over_before_the_lease_is() -> None:
    assert TIMEOUT < LASTS - lease.RENEW < LASTS < TAKEOVER


def test_one_address_stands_for_one_person() -> None:
    with pytest.raises(SettingsError, match="twice"):
        by_address([Person(email="a@example.com"), Person(email="A@example.com")])
