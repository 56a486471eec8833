"""batch.py: each message once and in order, in pieces that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.batch import Delivery, InOrder, OutOfOrder, next_age, pieces, reaches, split_at


def some(*sequences: int, size: int = 1, pending: int = 0) -> list[Delivery]:
    return [Delivery("s", b"x" * size, seq, number, 0, pending) for number, seq in enumerate(sequences, 1)]


def test_gaps_in_the_stream_are_in_order() -> None:
    order = InOrder(10)
    assert [delivery.seq for delivery in order.take(some(11, 15, 16))] == [11, 15, 16]


def test_what_is_stored_already_is_dropped() -> None:
    order = InOrder(10)
    assert [delivery.seq for delivery in order.take(some(9, 10, 11))] == [11]


def test_a_missing_delivery_is_noticed() -> None:
    order = InOrder(0)
    first, _, third = some(1, 2, 3)
    order.take([first])
    with pytest.raises(OutOfOrder):
        order.take([third])


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_pieces_lose_nothing_and_fit(sizes: list[int], limit: int) -> None:
    deliveries = [Delivery("s", b"x" * size, seq, seq, 0) for seq, size in enumerate(sizes, 1)]
    cut = pieces(deliveries, limit)
    assert [delivery for piece in cut for delivery in piece] == deliveries
    assert all(len(piece) == 1 or sum(len(delivery.data) for delivery in piece) <= limit for piece in cut)


def test_an_open_claim_is_cut_off() -> None:
    upto, rest = split_at(some(1, 4, 9), 5)
    assert ([d.seq for d in upto], [d.seq for d in rest]) == ([1, 4], [9])


def test_a_claim_is_whole_when_its_end_has_come_or_is_gone() -> None:
    assert not reaches(some(1, 2, pending=3), 5)
    assert reaches(some(1, 5, pending=3), 5)
    assert reaches(some(1, 2, pending=0), 5)


def test_a_batch_is_gathered_for_longer_where_storing_takes_long_up_to_a_bound() -> None:
    assert next_age(0.5, took=0.01) == 0.5
    assert next_age(0.5, took=0.4) == pytest.approx(1.2)
    assert next_age(0.5, took=30) == 2.0
