"""`countersign replay` in the terminal: everything in its place, in its time, and nothing obeyed."""

import io
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from countersign.record import Parameters, QueryRefused, Record
from countersign.replay import reading
from countersign.replay.moments import Moment, duration, of_frames
from countersign.replay.pace import Pace
from countersign.replay.terminal import play
from tests.record_use.conftest import Asking
from tests.record_use.world import DROP, SCRIPT, UPDATE, World


def replayed(cli: Asking, identifier: str) -> str:
    return cli.ok("replay", identifier, "--speed", "max")


def in_order(text: str, *words: str) -> None:
    """Each of them stands behind the one before."""
    place = 0
    for word in words:
        found = text.find(word, place)
        assert found >= 0, f"{word!r} is not behind {text[max(0, place - 80) : place]!r}"
        place = found + len(word)


def test_a_question_and_its_answer_stand_in_place(cli: Asking, world: World) -> None:
    said = replayed(cli, world.ids["db"])
    in_order(
        said,
        "Connection opened over postgres",
        "refund-agent asks orders for sql.select",
        "Allowed by reads-are-masked",
        "4711  EMAIL#86efe752a33ffa58  120.5",
        "[cut here, at the recording's limit]",
        "Forwarded, status 00000",
        "refund-agent asks orders for sql.update",
        "in its words: the customer returned it",
        UPDATE,
        "Held for a person",
        "asked: dba",
        "rows estimated: 1; rows counted: 1",
        "Approved by dana@example.com",
        "reason: checked the return",
        "after: 43.9 s",
        "Forwarded, status 00000",
        DROP,
        "Denied by never-drop",
        "reason: DROP is not allowed through the gateway",
        "Denied, status 42501",
        "rests on: the approval of dana@example.com",
        "Grant ended early by eve@example.com",
    )


def test_a_models_stream_is_readable(cli: Asking, world: World) -> None:
    said = replayed(cli, world.ids["chat"])
    in_order(said, "asks openai for llm.chat", "user: Refund order 4711", "│ I will", "│ refund order 4711.", SCRIPT)
    in_order(said, "masked: 1 request.EMAIL, 2 response.EMAIL", "Connection closed")


def test_nothing_recorded_reaches_the_terminal_unseen(cli: Asking, world: World) -> None:
    for name in ("db", "shell", "chat", "door"):
        said = replayed(cli, world.ids[name])
        assert {char for char in said if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"} == set()
    assert "<U+001B>[2J" in replayed(cli, world.ids["db"])


def test_a_terminal_is_shown_as_what_it_wrote(cli: Asking, world: World) -> None:
    in_order(replayed(cli, world.ids["shell"]), "terminal output", "│ $ ", "│ ls /srv", "│ report.csv", "│ exit")


def test_one_operation_alone(cli: Asking, world: World) -> None:
    said = replayed(cli, world.ids["update"])
    assert "Approved by dana@example.com" in said
    assert "sql.select" not in said
    assert "Connection opened" not in said


def test_a_refused_request_is_told(cli: Asking, world: World) -> None:
    in_order(replayed(cli, world.ids["door"]), "somebody unknown asks openai for http.post", "Denied, status 401")


def test_the_runs_other_sessions_are_named(cli: Asking, world: World) -> None:
    said = replayed(cli, world.ids["chat"])
    in_order(said, "part of a run with 1 other session", world.ids["db"], "Connection opened")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["not-an-id"], 2, "ID: name a session or an operation"),
        (["01a1f941-c700-7001-8000-00000000ffff"], 1, "no session and no operation of that id"),
        (["01a1f941-c700-7001-8000-000000000001", "--speed", "0"], 2, "--speed"),
        (["01a1f941-c700-7001-8000-000000000001", "--speed", "nan"], 2, "--speed"),
        (["01a1f941-c700-7001-8000-000000000001", "--idle", "long"], 2, "--idle"),
        (["01a1f941-c700-7001-8000-000000000001", "--format", "pdf"], 2, "--format"),
        (["01a1f941-c700-7001-8000-000000000001", "-o", "x.html"], 2, "-o: only a page"),
    ],
)
def test_misuse(cli: Asking, arguments: list[str], status: int, words: str) -> None:
    ended = cli.refused("replay", *arguments)
    assert ended.returncode == status
    assert words in ended.stderr


def test_it_waits_as_long_as_it_took() -> None:
    moments = [Moment(at, "note", str(at)) for at in (10.0, 10.5, 70.5, 70.6)]
    for pace, expected in ((Pace(1.0, 2), [0.5, 2.0, 0.1]), (Pace(2.0, 3600), [0.25, 30.0, 0.05]), (Pace(None), [])):
        waited: list[float] = []
        out = io.StringIO()
        play(moments, pace, out=out, sleep=waited.append)
        assert waited == pytest.approx(expected)
        assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["10.0", "10.5", "70.5", "70.6"]


def frame(seq: int, at: int, **changes: Any) -> dict[str, Any]:
    row = {"seq": seq, "at_us": at, "direction": "response", "data": "x", "operation_id": "", "media_type": ""}
    return {**row, "truncated": False, **changes}


def test_a_lost_frame_leaves_a_word() -> None:
    told = list(of_frames([frame(1, 1), frame(4, 5), frame(5, 6)], whole=True))
    assert [moment.kind for moment in told] == ["response", "note", "response", "response"]
    assert told[1].missing == "2 recorded pieces never came: the bus was away"
    assert not [moment for moment in of_frames([frame(3, 1)], whole=False) if moment.kind == "note"]


def test_erased_content_is_told() -> None:
    (moment,) = of_frames([frame(1, 1, data="[erased]")], whole=True)
    assert moment.missing == "erased: its key was deleted"


def test_an_erased_session_says_by_whom_and_shows_nothing(cli: Asking, world: World) -> None:
    for arguments in (("--speed", "max"), ("--format", "html")):
        said = cli.ok("replay", world.ids["erased"], *arguments)
        assert "content erased on 2026-11-19 23:01:00 UTC by dpo@example.com: asked for by Ms. Doe" in said
        assert "erased: its key was deleted" in said
        assert "Bern" not in said
        assert "about Ms." not in said
        assert "report-agent asks openai for llm.chat" in said


def test_frames_are_told_in_their_order_even_if_clocks_differ() -> None:
    told = list(of_frames([frame(1, 9), frame(2, 5), frame(3, 10)], whole=True))
    assert [moment.at for moment in told] == sorted(moment.at for moment in told)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "250 ms"), (43.9, "43.9 s"), (723, "12 min 3 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


class Small:
    """An endpoint that refuses answers of more than `most` rows."""

    def __init__(self, frames: int, most: int) -> None:
        self.frames, self.most, self.asked = frames, most, 0

    def ask(
        self, sql: str, format_: str, parameters: Parameters, settings: Parameters | None = None
    ) -> Iterator[bytes]:
        assert "FROM frames" in sql
        self.asked += 1
        if int(parameters["limit"]) > self.most:
            raise QueryRefused("Code: 396. DB::Exception: Result is larger than 67108864 bytes")
        first = int(parameters["after"]) + 1
        for seq in range(first, min(first + int(parameters["limit"]), self.frames + 1)):
            yield json.dumps(frame(seq, seq)).encode() + b"\n"


def test_large_frames_are_read_a_few_at_a_time() -> None:
    small = Small(frames=70, most=3)
    recording = reading.Recording(None, (), (), (), "s")
    told = list(reading.moments(small, recording))
    assert [moment.at for moment in told] == [seq / 1_000_000 for seq in range(1, 71)]


def test_one_frame_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(QueryRefused):
        list(reading.moments(Small(frames=1, most=0), reading.Recording(None, (), (), (), "s")))


def test_the_record_is_read_by_id_within_its_time(record: Record, world: World) -> None:
    found = reading.find(record, world.ids["db"])
    assert [row["operation_id"] for row in found.operations] == [
        world.ids[name] for name in ("select", "update", "drop", "again")
    ]
    assert [row["approval_id"] for row in found.approvals] == [world.ids["approval"]]
