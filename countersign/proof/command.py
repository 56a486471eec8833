"""`countersign audit verify | prove | check-proof | key | completeness | erase`: the commands around the proof."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countersign.errors import CommandError, Misuse
from countersign.proof import completeness as counting
from countersign.proof.content import verify_content
from countersign.proof.definitions import verify_definitions
from countersign.proof.erasing import ErasureRequest, must_be_known, publish, sessions_of, until_erased
from countersign.proof.findings import Report, counted
from countersign.proof.keys import verifier_keys
from countersign.proof.log import verify_log
from countersign.proof.proving import prove as prove_operation
from countersign.proof.tables import verify_tables
from countersign.record import opened
from countersign.where import DataOption, data_dir
from services.recorder.proof.bundle import BadProof, Bundle, check
from services.recorder.proof.note import BadNote, VerifierKey, read

STREAMS: Final = ("AUDIT", "RECORDING")

KeysOption = Annotated[
    list[str] | None,
    typer.Option("--vkey", metavar="KEY", help="The log's verifier key; by default the one in the data directory."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `countersign audit`."""
    app.command()(verify)
    app.command()(prove)
    app.command("check-proof")(check_proof)
    app.command()(key)
    app.command()(completeness)
    app.command()(erase)


def verify(
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="FILE", help="Checkpoints kept elsewhere, which today's log must extend."),
    ] = None,
    vkey: KeysOption = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Recompute everything: checkpoints, leaves, rows and tables. Exit 1 and name what was changed."""
    keys = verifier_keys(vkey, data)
    notes = [note for path in against or () for note in notes_in(_read(path))]
    if against and not notes:
        raise CommandError("--against: there is no checkpoint in it")
    report = Report()
    with opened(data) as record:
        verify_definitions(record, report)
        for stream in STREAMS:
            key = _key_of(keys, stream)
            verify_log(record, stream, key, [note for note in notes if _origin(note) == key.name], report)
        for note in notes:
            if _origin(note) not in {_key_of(keys, stream).name for stream in STREAMS}:
                raise CommandError(f"--against: {_origin(note)} is another log")
        verify_tables(record, report)
        verify_content(record, report)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            print(line)
    if not report.ok:
        raise typer.Exit(1)


def prove(
    operation: Annotated[str, typer.Argument(metavar="OPERATION", help="Its id.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Put content into the proof, with the key of these events only.")
    ] = False,
    text: Annotated[
        bool, typer.Option("--tlog-proof", help="Print C2SP tlog-proofs, one after the other, instead of JSON.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Print proofs that an operation's events are in the log; `check-proof` checks them anywhere."""
    with opened(data) as record:
        bundle = prove_operation(record, operation, reveal=reveal)
    if text:
        for event in bundle.events:
            print(event.proof)
    else:
        print(bundle.model_dump_json(indent=2))


def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `prove` printed.")],
    vkey: KeysOption = None,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Check a proof offline, with nothing but the log's verifier key. Exit 1 when it does not hold."""
    keys = verifier_keys(vkey, data)
    try:
        bundle = Bundle.model_validate_json(_read(file))
    except ValueError:
        raise CommandError(f"{file}: not a proof of `countersign audit prove`") from None
    told: list[dict[str, Any]] = []
    for event in bundle.events:
        try:
            claimed = read(event.proof.partition("\n\n")[2]).origin
            checked = check(event, _named(keys, claimed), of=bundle.operation_id)
        except (BadNote, BadProof) as error:
            raise CommandError(f"{event.event_id}: {error}") from None
        told.append(
            {
                "event_id": checked.event_id,
                "stream": checked.entry.stream,
                "stream_seq": checked.entry.stream_seq,
                "subject": checked.entry.subject,
                "leaf": checked.index,
                "checkpoint": checked.checkpoint_size,
                "whole": checked.whole,
                "operation_id": checked.operation_id,
                "type": event.type,
                "at": checked.at,
                "what": checked.told,
                "event": checked.bytes.decode("utf-8", "replace"),
            }
        )
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for one in told:
        shown = "" if one["whole"] else ", its content not shown"
        what = f"{one['type']} of operation {one['operation_id'] or '(not shown)'} at {one['at']}{one['what']}"
        where = f"leaf {one['leaf']} under the checkpoint of {one['checkpoint']} events"
        print(f"{what}: {one['event_id']} is {where}{shown}")


def key(data: DataOption = None) -> None:
    """Print the verifier keys of this instance's logs, one a line."""
    for each in verifier_keys(None, data):
        print(each)


def completeness(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Name what is missing: numbers that ingresses counted, and sequences of the streams. Exit 1 when there is any."""
    with opened(data) as record:
        gaps = list(counting.gaps(record))
    if as_json:
        print(json.dumps([gap._asdict() for gap in gaps], indent=2))
    else:
        for gap in gaps:
            print(gap)
        if not gaps:
            print("nothing is missing")
    if gaps:
        raise typer.Exit(1)


def erase(
    session: Annotated[list[str] | None, typer.Option("--session", metavar="ID", help="A session to erase.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="SUBJECT", help="Erase every session in which it did something.")
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who decided this; it is recorded.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; it is recorded.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="countersign.yaml, for the bus's address.")] = None,
    data: DataOption = None,
) -> None:
    """Make recorded content unreadable for good by deleting its keys; the proof still holds."""
    if not session and not subject:
        raise Misuse("name what to erase: --session ID or --subject SUBJECT")
    with opened(data) as record:
        sessions = sorted({*(session or ()), *(sessions_of(record, subject) if subject else ())})
        if not sessions:
            raise CommandError(f"{subject} did nothing in any session on record")
        must_be_known(record, list(session or ()))
        if not yes:
            whose = f" of {subject}" if subject else ""
            what = f"{counted(len(sessions), 'session')}{whose}: {', '.join(sessions[:3])}{', …' * (len(sessions) > 3)}"
            typer.confirm(f"Erase what was said in {what}? It cannot be undone.", abort=True, err=True)
        publish(ErasureRequest(tuple(sessions), by, subject or "", reason), config, data_dir(data))
        until_erased(record, sessions)
    print(f"erased: {counted(len(sessions), 'session')}")


def notes_in(text: str) -> list[str]:
    """The checkpoints in a file that a witness appended to: each ends with its signature lines."""
    return [found[0] for found in re.finditer(r"(?:[^\n]+\n){3,}\n(?:— [^\n]+\n)+", text)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {getattr(error, 'strerror', None) or 'not text'}") from None


def _origin(note: str) -> str:
    return note.partition("\n")[0]


def _named(keys: list[VerifierKey], name: str) -> VerifierKey:
    for each in keys:
        if each.name == name:
            return each
    raise BadNote(f"no --vkey is given for {name}")


def _key_of(keys: list[VerifierKey], stream: str) -> VerifierKey:
    for each in keys:
        if each.name.endswith(f"/{stream.lower()}"):
            return each
    raise Misuse(f"--vkey: none is of the {stream.lower()} log; `countersign audit key` prints both")
