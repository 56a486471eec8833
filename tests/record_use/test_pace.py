"""Time of a replay: original, faster, without waiting; silences cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.replay.pace import Pace, shortened

MOMENTS = [0.0, 0.5, 1.0, 61.0, 61.0, 60.0, 61.2]


@pytest.mark.parametrize(
    ("pace", "waits"),
    [
        (Pace(1.0, idle=3600), [0, 0.5, 0.5, 60, 0, 0, 0.2]),
        (Pace(4.0, idle=3600), [0, 0.125, 0.125, 15, 0, 0, 0.05]),
        (Pace(1.0, idle=2), [0, 0.5, 0.5, 2, 0, 0, 0.2]),
        (Pace(4.0, idle=2), [0, 0.125, 0.125, 0.5, 0, 0, 0.05]),
        (Pace(None), [0, 0, 0, 0, 0, 0, 0]),
        (Pace(1.0, idle=0), [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_waits(pace: Pace, waits: list[float]) -> None:
    assert list(pace.waits(MOMENTS)) == pytest.approx(waits)


@given(st.lists(st.floats(0, 1e9), max_size=30), st.floats(0.1, 100))
def test_a_shortened_clock_never_falls_back_nor_rests_longer(moments: list[float], idle: float) -> None:
    short = shortened(moments, idle)
    assert short == sorted(short)
    assert all(after - before <= idle + 0.002 for before, after in pairwise(short))
