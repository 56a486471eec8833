"""Prints a session as it went, in its own time or faster. Nothing recorded reaches the terminal unseen (visible.py)."""

import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, TextIO

from countersign.replay.content import Block, Cast, Table
from countersign.replay.moments import Moment
from countersign.replay.pace import Pace

#: A column of a table is shown this wide, and a table so many rows long; the page shows more.
_CELL: Final = 40
_ROWS: Final = 50
_COLOURS: Final = {
    "asked": "1",
    "allow": "32",
    "forwarded": "32",
    "deny": "31",
    "denied": "31",
    "failed": "31",
    "expired": "31",
    "unknown": "31",
    "hold": "33",
    "withdrawn": "33",
}


def play(
    moments: Iterable[Moment],
    pace: Pace,
    *,
    out: TextIO | None = None,
    colours: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print one moment after the other, with the waits between them."""
    out = out or sys.stdout
    previous: float | None = None
    for moment in moments:
        gap = 0.0 if previous is None else next_wait(pace, previous, moment.at)
        previous = moment.at if previous is None else max(previous, moment.at)
        if gap:
            out.flush()
            sleep(gap)
        out.write("\n".join(lines(moment, colours=colours)) + "\n")
    out.flush()


def next_wait(pace: Pace, before: float, after: float) -> float:
    """Seconds between two moments at this pace."""
    return list(pace.waits((before, after)))[1]


def lines(moment: Moment, *, colours: bool = False) -> list[str]:
    """One moment: a line with its time, its facts and its content indented below."""
    clock = datetime.fromtimestamp(moment.at, UTC).strftime("%H:%M:%S.%f")[:-3]
    colour = _COLOURS.get(moment.tone or moment.kind) if colours else None
    title = f"\x1b[{colour}m{moment.title}\x1b[0m" if colour else moment.title
    found = [f"{clock}  {title}"]
    found += [f"{'':14}{name}: {value}" for name, value in moment.facts]
    if moment.block is not None:
        found += [f"{'':12}│ {line}" for line in _block(moment.block)]
    if moment.missing:
        found.append(f"{'':14}[{moment.missing}]")
    return found


def _block(block: Block) -> list[str]:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Cast):
        return ["(terminal output, without control sequences)", *block.text.split("\n")]
    return block.text.split("\n")


def _table(table: Table) -> list[str]:
    shown = [table.columns, *([_null(cell) for cell in row] for row in table.rows[:_ROWS])]
    cells = [[_short(cell) for cell in row] for row in shown]
    columns = max(map(len, cells))
    padded = [row + [""] * (columns - len(row)) for row in cells]
    widths = [max(map(len, column)) for column in zip(*padded, strict=True)]
    found = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in padded]
    left_out = table.left_out + max(0, len(table.rows) - _ROWS)
    rule = "  ".join("─" * width for width in widths)
    return [found[0], rule, *found[1:], *([f"… and {left_out} more rows"] if left_out else [])]


def _null(cell: str | None) -> str:
    return "NULL" if cell is None else cell


def _short(text: str) -> str:
    line = text.replace("\n", "⏎").replace("\t", " ")
    return line if len(line) <= _CELL else f"{line[: _CELL - 1]}…"
