"""`countersign replay ID`: watch a session or an operation again, here or as a page to send to somebody."""

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from countersign.errors import CommandError, Misuse
from countersign.record import Record, opened
from countersign.replay.pace import IDLE, Pace
from countersign.replay.reading import MAX_OPERATIONS, Recording, erased, find, moments
from countersign.replay.terminal import play
from countersign.where import DataOption
from services.runtime.settings.values import seconds

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def replay(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A session's id, or an operation's.")],
    speed: Annotated[
        str, typer.Option(metavar="FACTOR", help="1 is original time, 4 four times as fast, max without waiting.")
    ] = "1",
    idle: Annotated[
        str, typer.Option(metavar="DURATION", help="Silences are cut to this; 0s leaves none.")
    ] = f"{IDLE:g}s",
    format_: Annotated[str, typer.Option("--format", metavar="text|html", help="html makes one page of it.")] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes; stdout by default.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Watch a session, or one operation of it, as it went."""
    if format_ not in ("text", "html"):
        raise Misuse("--format: text or html")
    if output is not None and format_ == "text":
        raise Misuse("-o: only a page goes into a file; add --format html")
    pace = _pace(speed, idle)
    with opened(data) as record:
        recording = find(record, id_)
        if recording.cut:
            print(f"countersign: only the first {MAX_OPERATIONS:,} operations are replayed", file=sys.stderr)
        if format_ == "html":
            _page(record, recording, pace, output)
        else:
            _announce(recording)
            colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            play(moments(record, recording), pace, colours=colours)


def _announce(recording: Recording) -> None:
    print(f"session {recording.session_id}")
    if words := erased(recording):
        print(words)
    if recording.steps:
        sessions = {row["session_id"] for row in recording.steps} - {recording.session_id}
        print(f"part of a run with {len(sessions)} other session{'s' if len(sessions) != 1 else ''}", end="")
        print("".join(f"\n  {session}" for session in sorted(sessions)))


def _page(record: Record, recording: Recording, pace: Pace, output: Path | None) -> None:
    from countersign.replay.page import pieces  # noqa: PLC0415 - the template engine is only for pages

    made = pieces(recording, moments(record, recording), idle=pace.idle)
    if output is None:
        for piece in made:
            sys.stdout.write(piece)
        return
    # The first piece before the file is opened: what cannot be read leaves nothing behind.
    first = next(made)
    try:
        with output.open("w", encoding="utf-8") as file:
            for piece in chain([first], made):
                file.write(piece)
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}") from None
    print(output)


def _pace(speed: str, idle: str) -> Pace:
    try:
        longest = seconds(idle)
    except ValueError as error:
        raise Misuse(f"--idle: {error}") from None
    if speed == "max":
        return Pace(None, longest)
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise Misuse("--speed: a factor such as 1, 4 or 0.5, or max")
    return Pace(factor, longest)
