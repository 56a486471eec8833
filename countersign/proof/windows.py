"""What is there, in windows that hold about as much each: one row at a far number costs one question. Pure.

ClickHouse counts its rows by `intDiv(number, WIDTH)`; numbers come close together in an untouched record, and wherever
somebody puts them otherwise.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """Numbers from `first` up to and without `end`."""

    first: int
    end: int


def windows(counted: Iterable[tuple[int, int]], width: int, rows: int) -> Iterator[Window]:
    """Windows over all that was counted: `counted` has (number // width, rows there), rising.

    Neighbours are taken together while they hold at most `rows`, whatever lies between them.
    """
    first = end = held = 0
    for place, count in counted:
        if held and held + count > rows:
            yield Window(first, end)
            held = 0
        first = first if held else place * width
        end, held = (place + 1) * width, held + count
    if held:
        yield Window(first, end)
