"""`countersign audit export`: what is in the record is in the file, whole or not at all, with flat memory."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.errors import CommandError
from countersign.export.reading import Range, pieces
from countersign.export.windows import Windows
from countersign.record import Parameters, QueryRefused
from schemas import subjects
from schemas.events import OperationAttempted
from services.recorder import ocsf
from services.recorder.proof.note import verifier_key
from tests.record_use.conftest import SINCE, Asking
from tests.record_use.serving import LOG_KEY
from tests.record_use.world import START, World
from tests.recorder.events import encoded

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("ocsf-1.8.0.json").read_text())


def exported(cli: Asking, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli.ok("audit", "export", "--since", SINCE, *arguments).splitlines()]


def operations(world: World) -> list[str]:
    tried = [
        event.operation_id for event in world.events if isinstance(event, OperationAttempted) and event.at >= START
    ]
    return [*tried, world.ids["refused"]]


def test_json_lines_are_the_operations_in_order(cli: Asking, world: World) -> None:
    rows = exported(cli)
    assert [row["operation_id"] for row in rows] == operations(world)
    assert rows[0]["started_at"] == "2026-11-20T14:00:00.100Z"
    assert rows[0]["masked"] == {"request.EMAIL": 1, "response.EMAIL": 2}


def test_a_range_and_a_session(cli: Asking, world: World) -> None:
    assert [row["action"] for row in exported(cli, "--until", "2026-11-20T14:00:06")] == ["llm.chat", "sql.select"]
    assert [row["operation_id"] for row in exported(cli, "--session", world.ids["chat"])] == [world.ids["prompt"]]
    assert exported(cli, "--until", "2026-11-20T13:00") == []


def test_everything_unless_a_range_is_given(cli: Asking, world: World) -> None:
    assert len(cli.ok("audit", "export").splitlines()) == len(operations(world)) + 1


def test_other_views(cli: Asking) -> None:
    assert [row["rule"] for row in exported(cli, "--view", "denials")] == ["never-drop", ""]
    assert [row["decided_by"] for row in exported(cli, "--view", "approval_decisions")] == [["dana@example.com"]]


def test_parquet_is_one_file_with_the_same_rows(cli: Asking, world: World) -> None:
    path = cli.directory / "out.parquet"
    assert cli.ok("audit", "export", "--since", SINCE, "--format", "parquet", "-o", str(path)) == ""
    assert path.read_bytes()[:4] == path.read_bytes()[-4:] == b"PAR1"
    assert sorted(file.name for file in cli.directory.iterdir()) == ["out.parquet"]
    assert parquet(path) == [[name, ["agents"]] for name in operations(world)[:5]]


def parquet(path: Path) -> list[list[Any]]:
    """The first rows, as ClickHouse reads them; in a process of its own, as the engine wants it."""
    import subprocess
    import sys

    script = (
        "import chdb, sys; print(chdb.query(f\"SELECT operation_id, groups FROM file('{sys.argv[1]}', 'Parquet') "
        'LIMIT 5", "JSONCompactEachRow"))'
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line]


def test_a_hold_has_the_very_bytes_that_were_published(cli: Asking, world: World) -> None:
    directory = cli.directory / "case-7"
    said = cli.ok("audit", "export", "--hold", "case-7", "--session", world.ids["db"], "-o", str(directory))
    mine = [event for event in world.events if event.session_id == world.ids["db"]]
    assert (
        said
        == f"{directory}: {len(mine)} events of 1 sessions, 0 of them erased before; 4 operations proven, 0 not yet\n"
    )
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    held = {line["event_id"]: base64.b64decode(line["bytes"]) for line in lines}
    assert held == {event.event_id: encoded(event) for event in mine}
    assert {line["event_id"]: line["subject"] for line in lines} == {e.event_id: subjects.of(e) for e in mine}
    assert all(line["sha256"] == hashlib.sha256(held[line["event_id"]]).hexdigest() for line in lines)
    manifest = json.loads((directory / "hold.json").read_text())
    assert manifest["sessions"] == [world.ids["db"]]
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest


def test_a_holds_proofs_can_be_checked_anywhere(cli: Asking, world: World) -> None:
    directory = cli.directory / "case-8"
    cli.ok("audit", "export", "--hold", "case-8", "--session", world.ids["chat"], "-o", str(directory))
    (proof,) = (directory / "proofs").iterdir()
    key = str(verifier_key(LOG_KEY, "countersign/audit"))
    cli.environment["COUNTERSIGN_CLICKHOUSE_URL"] = "http://127.0.0.1:1"
    told = json.loads(cli.ok("audit", "check-proof", str(proof), "--vkey", key, "--json"))
    mine = [event for event in world.events if getattr(event, "operation_id", "") == world.ids["prompt"]]
    assert {one["event_id"] for one in told} == {event.event_id for event in mine}


def test_a_hold_says_what_was_erased_before(cli: Asking, world: World) -> None:
    directory = cli.directory / "late"
    said = cli.ok("audit", "export", "--hold", "late", "--session", world.ids["erased"], "-o", str(directory))
    assert said == f"{directory}: 7 events of 1 sessions, 2 of them erased before; 1 operations proven, 0 not yet\n"
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    gone = [line for line in lines if line.get("erased")]
    assert [line["bytes"] for line in gone] == [None, None]
    assert "Doe" not in "".join(base64.b64decode(line["left"]).decode() for line in gone)


def test_a_hold_of_a_range_takes_whole_sessions(cli: Asking, world: World) -> None:
    directory = cli.directory / "hold"
    arguments = ("--hold", "h", "--since", SINCE, "--until", "2026-11-20T14:00:05", "-o", str(directory))
    cli.ok("audit", "export", *arguments)
    manifest = json.loads((directory / "hold.json").read_text())
    assert manifest["sessions"] == sorted([world.ids["chat"], world.ids["db"]])
    assert cli.refused("audit", "export", *arguments).stderr.count("not empty") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "soon"], "--since: a time such as"),
        (["--since", "1h", "--until", "2h"], "--since: not before --until"),
        (["--since", "1h", "--session", "x' OR 1"], "is no session's id"),
        (["--since", "1h", "--view", "session_keys"], "--view: one of"),
        (["--since", "1h", "--format", "xml"], "--format: parquet"),
        (["--since", "1h", "--format", "parquet"], "-o: Parquet"),
        (["--since", "1h", "--hold", "x"], "-o: a hold"),
    ],
)
def test_misuse(cli: Asking, arguments: list[str], words: str) -> None:
    ended = cli.refused("audit", "export", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr


def test_a_file_that_cannot_be_written_is_one_line(cli: Asking) -> None:
    ended = cli.refused("audit", "export", "--since", SINCE, "-o", "nowhere/out.jsonl")
    assert ended.stderr == "countersign: nowhere/out.jsonl: No such file or directory\n"


class Crowded:
    """An endpoint with a row every so many milliseconds that refuses answers of more than `most` rows."""

    def __init__(self, moments: list[int], most: int, *, broken_at: int | None = None) -> None:
        self.moments, self.most, self.broken_at = moments, most, broken_at

    def ask(
        self, sql: str, format_: str, parameters: Parameters, settings: Parameters | None = None
    ) -> Iterator[bytes]:
        since, until = (milliseconds(parameters[name]) for name in ("since", "until"))
        found = [moment for moment in self.moments if since <= moment < until]
        if len(found) > self.most:
            raise QueryRefused("Code: 396. DB::Exception: Limit for result exceeded")
        for moment in found:
            if moment == self.broken_at:
                raise CommandError("the reply broke off")
            yield f"{moment}\n".encode()


def milliseconds(text: str) -> int:
    return round((datetime.fromisoformat(text).replace(tzinfo=UTC) - START).total_seconds() * 1000)


@given(st.lists(st.integers(0, 3_000_000), unique=True, max_size=60).map(sorted), st.integers(1, 20))
def test_whatever_fits_into_an_answer_everything_comes_once_and_in_order(moments: list[int], most: int) -> None:
    wanted = Range(START, START + timedelta(milliseconds=3_000_001))
    found = [
        int(line)
        for piece in pieces(Crowded(moments, most), "operations", wanted, "TabSeparated")
        for line in b"".join(piece).split()
    ]
    assert found == moments


def test_a_millisecond_that_does_not_fit_is_named() -> None:
    crowded = Crowded([5, 5, 5], most=2)
    made = pieces(crowded, "operations", Range(START, START + timedelta(seconds=1)), "TabSeparated")
    with pytest.raises(CommandError, match=r"one millisecond at 2026-11-20T14:00:00.005000\+00:00 holds more"):
        list(map(list, made))


def test_what_breaks_off_leaves_no_file(cli: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    from countersign.export import command

    broken = Crowded([1, 2, 3], most=9, broken_at=2)
    wanted = Range(START, START + timedelta(seconds=1))
    output = cli.directory / "out.jsonl"
    with pytest.raises(CommandError, match="broke off"):
        command._write(
            output, lambda: (chunk for piece in pieces(broken, "operations", wanted, "x") for chunk in piece)
        )
    assert list(cli.directory.iterdir()) == []


def test_pieces_grow_while_little_is_found() -> None:
    windows = Windows(START, START + timedelta(days=365))
    asked = 0
    for _ in windows:
        windows.answered(0)
        asked += 1
    assert asked < 20


# OCSF


def problems(value: dict[str, Any], part: dict[str, Any], place: str) -> list[str]:
    """What the schema does not allow, all the way in: missing, unknown, out of its enumeration."""
    found = [f"{place}: {name} is missing" for name in part["required"] if name not in value]
    found += [f"{place}: {name} is unknown" for name in value if name not in part["attributes"]]
    if part["at_least_one"] and not set(part["at_least_one"]) & set(value):
        found.append(f"{place}: none of {part['at_least_one']}")
    for name, allowed in part["enums"].items():
        if name in value and name not in ("class_uid", "category_uid") and value[name] not in allowed:
            found.append(f"{place}: {name} {value[name]}")
    for name, kind in part["objects"].items():
        inner = value.get(name, [])
        for item in inner if isinstance(inner, list) else [inner]:
            found += problems(item, SCHEMA["objects"][kind], f"{place}.{name}")
    return found


def check(event: dict[str, Any]) -> None:
    assert problems(event, SCHEMA["classes"][str(event["class_uid"])], "event") == []
    assert event["metadata"]["version"] == SCHEMA["version"]
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["category_uid"] == event["class_uid"] // 1000


def test_every_event_is_one_that_ocsf_knows(cli: Asking, world: World) -> None:
    events = exported(cli, "--format", "ocsf")
    for event in events:
        check(event)
    assert [event["metadata"]["uid"] for event in events] == operations(world)
    known = {identifier: name for name, identifier in world.ids.items()}
    told = {known[event["metadata"]["uid"]]: event for event in events}
    assert {name: (event["class_uid"], event["activity_id"], event["status_id"]) for name, event in told.items()} == {
        "prompt": (6003, 99, 1),
        "select": (6005, 1, 1),
        "update": (6005, 2, 1),
        "drop": (6005, 7, 2),
        "again": (6005, 2, 1),
        "shell-op": (6003, 99, 1),
        "refused": (3002, 1, 2),
    }
    assert told["refused"]["src_endpoint"] == {"ip": "10.9.9.9", "port": 1}
    assert told["drop"]["action"] == "Denied"
    assert told["update"]["unmapped"]["approved_by"] == ["dana@example.com"]
    assert told["select"]["query_info"]["query_string"].startswith("SELECT id")


ROW: dict[str, Any] = {
    **dict.fromkeys(("operation_id", "session_id", "subject", "email", "issuer", "connector", "protocol"), ""),
    **dict.fromkeys(("action", "statement", "decision", "reason", "policy_version", "approval_id", "outcome"), ""),
    **dict.fromkeys(("status", "ingress", "peer", "run", "trace_id"), ""),
    **dict.fromkeys(("started_ms", "finished_ms", "request_bytes", "response_bytes", "rows", "total_ms"), 0),
    **{name: [] for name in ("groups", "resources", "rules", "approved_by")},
    "masked": {},
}


@given(
    st.fixed_dictionaries(
        {
            "protocol": st.sampled_from(["http", "postgres", "ssh", "mcp", "clickhouse"]),
            "action": st.sampled_from(["http.get", "sql.select", "sql.drop", "sql.call", "llm.chat", "ssh.exec", ""]),
            "outcome": st.sampled_from(["forwarded", "denied", "expired", "failed", "unknown", "deferred", ""]),
            "decision": st.sampled_from(["allow", "deny", "hold", ""]),
            "subject": st.sampled_from(["agent", ""]),
            "peer": st.sampled_from(["10.0.0.1:5", "[2001:db8::1]:443", "", "unix", "no:port"]),
        }
    )
)
def test_any_operation_makes_a_valid_event(changes: dict[str, str]) -> None:
    check(ocsf.event(ROW | changes | {"operation_id": "o", "session_id": "s", "connector": "c"}))
