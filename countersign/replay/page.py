"""One self-contained page to watch a session: nothing is fetched, and nothing recorded is ever markup or script.

Every recorded word goes through Jinja's autoescaping as text; a terminal's recording stands in a JSON block that only
the player reads. The page's own style and script are the only ones its Content-Security-Policy knows, by hash.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from countersign.replay.content import Block, Cast, Table, Text
from countersign.replay.moments import Moment, duration
from countersign.replay.pace import IDLE, shortened
from countersign.replay.reading import Recording, erased
from countersign.replay.visible import one_line, visible

#: Characters of recorded content on one page: a browser still scrolls it, and a mail still carries it.
MAX_CONTENT: Final = 16 * 1024 * 1024
LEFT_OUT: Final = "left out here, the page would be too large; `countersign replay` in a terminal shows it"
#: Characters of a statement in the list of a run's steps.
_SHORT: Final = 72


@dataclass(frozen=True)
class Shown:
    """A moment as the template takes it; `at` and `short` in seconds from the beginning, without and with idle cut."""

    moment: Moment
    at: float
    short: float
    clock: str
    offset: str
    #: The terminal's recording, by its key in the page's data.
    cast: str = ""


@dataclass(frozen=True)
class Part:
    """Style or script of the page, and what its policy calls it (CSP Level 3, section 2.3.1)."""

    text: Markup
    source: str


def pieces(recording: Recording, moments: Iterable[Moment], *, idle: float = IDLE) -> Iterator[str]:
    """The page in pieces, in order. `idle` is the longest silence, in seconds, when silences are skipped."""
    casts: dict[str, str] = {}
    told = _folded(_bounded(moments), casts)
    shown = _timed(told, idle, casts)
    styles, scripts = [_part("page", "replay.css")], [_part("page", "replay.js")]
    if casts:
        styles.insert(0, _part("vendor", "asciinema-player.css"))
        scripts.insert(0, _part("vendor", "asciinema-player.min.js"))
    yield from _template().generate(
        recording=recording,
        summary=_summary(recording, shown),
        moments=shown,
        runs=_runs(recording),
        casts=_data(casts),
        styles=styles,
        scripts=scripts,
        policy=_policy(styles, scripts, wasm=bool(casts)),
        idle=f"{idle:g}",
        end=shown[-1].at if shown else 0,
        is_table=lambda block: isinstance(block, Table),
        is_text=lambda block: isinstance(block, Text),
    )


def _bounded(moments: Iterable[Moment]) -> Iterator[Moment]:
    """All of them, with content until the page is full."""
    room = MAX_CONTENT
    for moment in moments:
        room -= _size(moment.block)
        yield moment if room >= 0 or moment.block is None else replace(moment, block=None, missing=LEFT_OUT)


def _size(block: Block | None) -> int:
    match block:
        case Text(text, raw):
            return len(text) + len(raw)
        case Cast(lines, text):
            return len(lines) + len(text)
        case Table(columns, rows):
            return sum(len(cell or "") for row in (columns, *rows) for cell in row)
        case _:
            return 0


def _folded(moments: Iterable[Moment], casts: dict[str, str]) -> list[Moment]:
    """The pieces of one operation's terminal become one, where it began; `casts` gets their lines."""
    found: list[Moment] = []
    first: dict[str, int] = {}
    for moment in moments:
        if not isinstance(moment.block, Cast):
            found.append(moment)
        elif moment.operation_id not in first:
            first[moment.operation_id] = len(found)
            casts[moment.operation_id] = _ended(moment.block.lines)
            found.append(replace(moment, title="Terminal"))
        else:
            casts[moment.operation_id] += _ended(moment.block.lines)
            begun = found[first[moment.operation_id]]
            assert isinstance(begun.block, Cast)
            text = begun.block.text + moment.block.text
            missing = moment.missing or begun.missing
            found[first[moment.operation_id]] = replace(begun, block=replace(begun.block, text=text), missing=missing)
    return found


def _ended(lines: str) -> str:
    return lines if lines.endswith("\n") else f"{lines}\n"


def _timed(moments: list[Moment], idle: float, casts: dict[str, str]) -> list[Shown]:
    if not moments:
        return []
    start = moments[0].at
    short = shortened((moment.at for moment in moments), idle)
    return [
        Shown(
            moment,
            round(max(0.0, moment.at - start), 3),
            skipped,
            datetime.fromtimestamp(moment.at, UTC).strftime("%H:%M:%S.%f")[:-3],
            _offset(moment.at - start),
            moment.operation_id if isinstance(moment.block, Cast) and moment.operation_id in casts else "",
        )
        for moment, skipped in zip(moments, short, strict=True)
    ]


def _offset(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"+{int(minutes)}:{rest:04.1f}"


def _summary(recording: Recording, shown: list[Shown]) -> dict[str, Any]:
    operations = recording.operations
    people = sorted({row["subject"] for row in operations if row["subject"]})
    begun = datetime.fromtimestamp(shown[0].moment.at, UTC) if shown else None
    connectors = ", ".join(sorted({row["connector"] for row in operations}))
    refused = sum(row["outcome"] == "denied" for row in operations)
    answered = [row for row in recording.approvals if row["decided_by"]]
    return {
        "title": f"{'Operation' if recording.operation_id else 'Session'} of {visible(', '.join(people) or 'nobody')}",
        "id": recording.operation_id or recording.session_id,
        "erased": erased(recording),
        "facts": [
            ("began", begun.strftime("%Y-%m-%d %H:%M:%S UTC") if begun else ""),
            ("lasted", duration(shown[-1].at) if shown else ""),
            ("from", visible(recording.session["peer"]) if recording.session else ""),
            ("reached", visible(connectors)),
            ("operations", f"{len(operations):,}{' (the first)' if recording.cut else ''}"),
            ("denied", str(refused) if refused else ""),
            ("asked people", f"{len(recording.approvals)}, {len(answered)} answered" if recording.approvals else ""),
        ],
    }


def _runs(recording: Recording) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each run that the session had a part in, with its steps in order."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in recording.steps:
        runs.setdefault(visible(row["run"]), []).append(_step(row, recording))
    return list(runs.items())


def _step(row: dict[str, Any], recording: Recording) -> dict[str, Any]:
    here = {operation["operation_id"] for operation in recording.operations}
    return {
        "at": datetime.fromtimestamp(int(row["started_us"]) / 1_000_000, UTC).strftime("%H:%M:%S"),
        "what": f"{visible(row['connector'])} {visible(row['action'])}",
        "statement": one_line(row["statement"], _SHORT),
        "outcome": visible(row["outcome"]) or "open",
        "here": row["operation_id"] if row["operation_id"] in here else "",
        "session": row["session_id"],
    }


def _policy(styles: list[Part], scripts: list[Part], *, wasm: bool) -> str:
    """Nothing but our own style and script; the terminal's player also compiles its WebAssembly."""
    script = " ".join([*(part.source for part in scripts), *(["'wasm-unsafe-eval'"] if wasm else [])])
    style = " ".join(part.source for part in styles)
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
        if not wasm
        else f"default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"
    )


def _part(folder: str, name: str) -> Part:
    """Ours or the vendor's, never recorded: it may stand in the page as it is."""
    text = files("countersign.replay").joinpath(folder, name).read_text(encoding="utf-8")
    lowered = text.lower()
    assert not any(end in lowered for end in ("</script", "</style", "<!--"))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Part(Markup(text), f"'sha256-{digest}'")  # noqa: S704 - see above


def _data(casts: dict[str, str]) -> Markup:
    """JSON that cannot end the element it stands in (HTML, section 4.12.1.3, restrictions for script elements)."""
    text = json.dumps(casts).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - it holds no markup


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("countersign.replay").joinpath("page", "replay.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)
