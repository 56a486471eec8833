"""A legal hold: everything of some sessions, byte for byte as it was published, in a directory that retention cannot
reach. What was masked stays masked; what was erased before is listed as such.

    events.jsonl       one event a line: where it stands in its stream, SHA-256 and Base64 of its bytes
    checkpoints.jsonl  the log's signed heads (docs/proof.md), to hold the events against
    proofs/            a file for each operation, for `countersign audit check-proof`
    hold.json          name, counts, and the SHA-256 of the first two; written last: without it, it is not whole
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from countersign.errors import CommandError
from countersign.proof.proving import prove
from countersign.record import QueryRefused, Record, each_row, rows
from services.recorder.content import restored

#: Events asked for at once, at most; halved while the endpoint says that the answer is too large.
_EVENTS: Final = 256
_TOO_LARGE: Final = frozenset({396, 241})
_ORDER: Final = "(stream, epoch, stream_seq)"

_OF_SESSION: Final = f"""
SELECT stream, epoch, stream_seq, published_at, subject, event_id, session_id, base64Encode(raw) AS raw,
       if(isNull(content), NULL, base64Encode(assumeNotNull(content))) AS content
FROM event_bytes
WHERE session_id = {{session:String}} AND {_ORDER} > ({{stream:String}}, {{epoch:UInt64}}, {{seq:UInt64}})
ORDER BY {_ORDER} LIMIT {{limit:UInt32}}
"""  # noqa: S608 - constants
_OPERATIONS: Final = "SELECT operation_id FROM operations WHERE session_id = {session:String} ORDER BY started_at"
_CHECKPOINTS: Final = "SELECT * EXCEPT (at), toString(at) AS at FROM checkpoints ORDER BY stream, tree_size"
_SESSIONS: Final = """
SELECT DISTINCT session_id FROM operations
WHERE started_at >= {since:DateTime64(3, 'UTC')} AND started_at < {until:DateTime64(3, 'UTC')} ORDER BY session_id
"""


def sessions_between(record: Record, since: str, until: str) -> list[str]:
    """Sessions with an operation in this range."""
    return [row["session_id"] for row in rows(record, _SESSIONS, {"since": since, "until": until})]


def write(record: Record, name: str, sessions: Sequence[str], directory: Path) -> dict[str, Any]:
    """Fill the directory, which must be new or empty; answers what `hold.json` says. Raises CommandError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CommandError(f"{directory}: not empty; a hold is written once, into a directory of its own")
        counts = {"events": 0, "erased": 0}
        proofs, unproven = _prove(record, sessions, directory / "proofs")
        held = _file(directory / "events.jsonl", _lines(record, sessions, counts))
        heads = _file(directory / "checkpoints.jsonl", map(_json, each_row(record, _CHECKPOINTS)))
        told = {
            "hold": name,
            "written_at": datetime.now(UTC).isoformat(),
            "sessions": list(sessions),
            **counts,
            "proofs": proofs,
            "unproven": unproven,
            "sha256": {"events.jsonl": held, "checkpoints.jsonl": heads},
        }
        (directory / "hold.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}") from None
    return told


def _lines(record: Record, sessions: Sequence[str], counts: dict[str, int]) -> Iterator[str]:
    for session in sessions:
        for row in _events(record, session):
            raw, content = base64.b64decode(row.pop("raw")), row.pop("content")
            data = None if content is None else restored(raw, base64.b64decode(content))
            counts["events"] += 1
            counts["erased"] += data is None
            yield _json(
                row
                | {
                    "sha256": hashlib.sha256(data).hexdigest() if data is not None else None,
                    "bytes": base64.b64encode(data).decode() if data is not None else None,
                    **({"erased": True, "left": base64.b64encode(raw).decode()} if data is None else {}),
                }
            )


def _prove(record: Record, sessions: Sequence[str], directory: Path) -> tuple[int, dict[str, str]]:
    """Write the proofs; answers how many, and the operations that cannot be proven now with the reason."""
    directory.mkdir(mode=0o700)
    proven, unproven = 0, {}
    for session in sessions:
        for row in rows(record, _OPERATIONS, {"session": session}):
            name = row["operation_id"]
            try:
                bundle = prove(record, name, reveal=True)
            except QueryRefused:
                raise
            except CommandError as error:  # such as an event that is newer than the last checkpoint
                unproven[name] = str(error)
                continue
            (directory / f"{name}.json").write_text(bundle.model_dump_json(), encoding="utf-8")
            proven += 1
    return proven, unproven


def _events(record: Record, session: str) -> Iterator[dict[str, Any]]:
    limit, place = _EVENTS, {"stream": "", "epoch": "0", "seq": "0"}
    while True:
        try:
            found = rows(record, _OF_SESSION, {"session": session, "limit": str(limit), **place})
        except QueryRefused as error:
            if error.code not in _TOO_LARGE or limit == 1:
                raise
            limit //= 2
            continue
        yield from found
        if len(found) < limit:
            return
        last = found[-1]
        place = {"stream": last["stream"], "epoch": str(last["epoch"]), "seq": str(last["stream_seq"])}


def _file(path: Path, made: Iterator[str]) -> str:
    """Write the lines; answers the file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for line in made:
            data = f"{line}\n".encode()
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False)
