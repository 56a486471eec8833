"""`countersign audit export`: a time range of the record as Parquet, JSON lines or OCSF events, or sessions for a legal
hold. A file appears under its name only when it is whole.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from countersign.errors import CommandError, Misuse
from countersign.export import hold as legal_hold
from countersign.export.parquet import joined
from countersign.export.reading import VIEWS, Range, ocsf_rows, pieces
from countersign.record import Record, opened
from countersign.where import DataOption, when
from services.recorder.ocsf import event

#: Nothing was recorded before.
BEGINNING: Final = "2026-01-01"
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def export(
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="A time (2026-11-20, 2026-11-20T14:00Z) or how long ago (30d); everything by default."
        ),
    ] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Likewise; now by default.")] = "0s",
    format_: Annotated[str, typer.Option("--format", metavar="parquet|jsonl|ocsf")] = "jsonl",
    view: Annotated[str, typer.Option(metavar="VIEW", help=f"One of {', '.join(VIEWS)}.")] = "operations",
    session: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only this session's; may be repeated.")
    ] = None,
    hold: Annotated[
        str, typer.Option(metavar="NAME", help="Instead: every event of the sessions, byte for byte, into a directory.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="stdout by default, but not for Parquet.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Write a part of the record to a file."""
    sessions = _sessions(session or [])
    wanted = Range(when("--since", since or BEGINNING), when("--until", until), sessions)
    if wanted.since >= wanted.until:
        raise Misuse("--since: not before --until")
    if view not in VIEWS:
        raise Misuse(f"--view: one of {', '.join(VIEWS)}")
    with opened(data) as record:
        if hold:
            _hold(record, hold, wanted, output)
        elif format_ == "parquet":
            _parquet(record, view, wanted, output)
        elif format_ == "jsonl":
            _write(output, lambda: (chunk for piece in pieces(record, view, wanted, "JSONEachRow") for chunk in piece))
        elif format_ == "ocsf" and view == "operations":
            _write(output, lambda: (_line(event(row)) for row in ocsf_rows(record, wanted)))
        else:
            raise Misuse("--format: parquet, jsonl, or ocsf (of operations)")


def _sessions(given: list[str]) -> tuple[str, ...]:
    if wrong := [name for name in given if not _ID.fullmatch(name)]:
        raise Misuse(f"--session: {wrong[0]!r} is no session's id; `countersign sessions list` shows them")
    return tuple(dict.fromkeys(given))


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _write(output: Path | None, made: Callable[[], Iterator[bytes]]) -> None:
    if output is None:
        for piece in made():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f".{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            for piece in made():
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _parquet(record: Record, view: str, wanted: Range, output: Path | None) -> None:
    if output is None:
        raise Misuse("-o: Parquet goes into a file")
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output.absolute().parent) as directory:
            parts = []
            for number, piece in enumerate(pieces(record, view, wanted, "Parquet")):
                parts.append(Path(directory) / f"{number:08}.parquet")
                with parts[-1].open("wb") as file:
                    file.writelines(piece)
            whole = Path(directory) / "whole.parquet"
            joined(parts, whole)
            whole.replace(output)
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}") from None


def _hold(record: Record, name: str, wanted: Range, output: Path | None) -> None:
    if output is None:
        raise Misuse("-o: a hold goes into a directory of its own")
    span = (wanted.since.strftime("%Y-%m-%d %H:%M:%S"), wanted.until.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3])
    sessions = wanted.sessions or legal_hold.sessions_between(record, *span)
    told = legal_hold.write(record, name, sessions, output)
    said = f"{output}: {told['events']} events of {len(sessions)} sessions, {told['erased']} of them erased before"
    print(f"{said}; {told['proofs']} operations proven, {len(told['unproven'])} not yet")
