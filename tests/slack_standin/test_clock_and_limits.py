"""Time turned by hand, and the token buckets that live by it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from examples.slack_standin import ManualClock
from examples.slack_standin.limits import RateLimiter


def test_timers_fire_in_order_at_their_own_time():
    clock, fired = ManualClock(0), []
    for seconds in (5, 1, 3):
        clock.call_later(seconds, lambda seconds=seconds: fired.append((seconds, clock.now())))
    clock.call_later(2, lambda: fired.append((2, -1))).cancel()
    clock.advance(4)
    assert fired == [(1, 1), (3, 3)]
    assert clock.now() == 4


def test_a_timer_set_by_a_timer_fires_in_the_same_advance():
    clock, fired = ManualClock(0), []
    clock.call_later(1, lambda: clock.call_later(1, lambda: fired.append(clock.now())) and None)
    clock.advance(3)
    assert fired == [2]


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 5))
def test_no_more_than_the_burst_and_the_rate_gets_through(pauses: list[float], burst: int):
    clock = ManualClock(0)
    rates, passed = RateLimiter(clock), 0
    for pause in pauses:
        clock.advance(pause)
        passed += rates.wait("channel", 1.0, burst) == 0
    assert passed <= burst + clock.now() + 1e-6


@given(st.integers(1, 5), st.floats(0.1, 10))
def test_after_the_wait_that_was_named_there_is_room(burst: int, rate: float):
    clock = ManualClock(0)
    rates = RateLimiter(clock)
    while (wait := rates.wait("channel", rate, burst)) == 0:
        pass
    clock.advance(math.nextafter(wait, math.inf) + 1e-9)
    assert rates.wait("channel", rate, burst) == 0
    assert rates.wait("another", rate, burst) == 0
