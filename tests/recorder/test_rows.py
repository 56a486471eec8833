"""rows.py: every message becomes rows, in the tables of the migrations; none stops the stream."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import new_id
from schemas.events import Event, Outcome, Refusal
from services.recorder import tables as t
from services.recorder.batch import Delivery
from services.recorder.content import restored
from services.recorder.rows import build, started_at
from services.recorder.tables import WRITING_ORDER, Table
from tests.recorder import events as e


def named(table: Table, row: tuple[object, ...]) -> dict[str, object]:
    return dict(zip(table.columns, row, strict=True))


def only(table: Table, event: Event) -> dict[str, object]:
    """The one row of a table that an event gives."""
    (row,) = build(e.deliveries([event]), "AUDIT", 7)[table]
    return named(table, row)


def test_an_attempt_is_stored_as_its_bytes_and_as_its_fields() -> None:
    event = e.attempt(seq=5)
    raw, typed = only(t.EVENTS, event), only(t.ATTEMPTS, event)
    assert restored(raw["raw"], raw["content_hash"]) == e.encoded(event)  # type: ignore[arg-type]
    assert b"Summarise" not in raw["raw"]  # type: ignore[operator]
    assert (typed["statement"], typed["path"], typed["attributes"]) == ("", "", "")
    assert typed["content"] == raw["content_hash"]
    assert (raw["stream"], raw["epoch"], raw["stream_seq"], raw["ingress_seq"]) == ("AUDIT", 7, 1, 5)
    assert raw["type"] == "OperationAttempted"
    assert typed["subject"] == "agent-7"
    assert typed["groups"] == ("agents", "ml")
    assert typed["findings"] == {"EMAIL": 2}
    assert typed["event_id"] == raw["event_id"] == event.event_id


def test_the_start_is_the_moment_in_the_operation_id() -> None:
    before = int(datetime.now(UTC).timestamp() * 1000)
    assert before - 1 <= started_at(new_id()) <= before + 1000
    assert started_at("00000000-0000-4000-8000-000000000000") == 0


def test_every_event_has_a_typed_table() -> None:
    tried = e.attempt()
    opened, closed = e.session()
    every = [tried, e.verdict(tried), e.outcome(tried), e.approval_request(tried), opened, closed, e.frame(1)]
    rows = build(e.deliveries(every), "AUDIT", 1)
    assert set(rows) == {
        t.ATTEMPTS,
        t.VERDICTS,
        t.OUTCOMES,
        t.APPROVAL_REQUESTS,
        t.SESSION_STARTS,
        t.SESSION_ENDS,
        t.SESSION_FRAMES,
        t.EVENTS,
    }
    assert len(rows[t.EVENTS]) == 6  # frames are stored once, in their own table
    assert set(rows) <= set(WRITING_ORDER)


def test_a_refusal_brings_what_is_known_of_the_caller() -> None:
    refusal = Refusal(code="unknown_connector", connector="nope", statement="GET /nope/x", identity=e.AGENT)
    event = e.outcome(e.attempt(), connector="-", outcome=Outcome.DENIED, refusal=refusal)
    row = only(t.OUTCOMES, event)
    assert (row["refused"], row["refusal_code"], row["subject"]) == (True, "unknown_connector", "agent-7")


def test_only_an_unnumbered_unknown_is_presumed() -> None:
    tried = e.attempt()
    assert only(t.OUTCOMES, e.outcome(tried, outcome=Outcome.UNKNOWN, ingress_seq=None))["presumed"] is True
    assert only(t.OUTCOMES, e.outcome(tried, outcome=Outcome.UNKNOWN, ingress_seq=4))["presumed"] is False


@pytest.mark.parametrize(
    ("subject", "data", "reason"),
    [
        ("cs.attempt.http.openai", b"\xff\xfe", "not a OperationAttempted"),
        ("cs.attempt.http.openai", b"{}", "ingress"),
        ("cs.attempt.http.openai", e.encoded(e.verdict(e.attempt())), "type"),
        ("cs.approval.postponed.x", b"{}", "no event is known on"),
        ("cs", b"{}", "no event is known on"),
        ("elsewhere.attempt", b"{}", "no event is known on"),
    ],
)
def test_what_cannot_be_read_is_kept_with_its_reason(subject: str, data: bytes, reason: str) -> None:
    rows = build([Delivery(subject, data, 3, 1, 1_790_000_000_000_000)], "AUDIT", 7)
    (row,) = rows.pop(t.DEAD_LETTERS)
    letter = named(t.DEAD_LETTERS, row)
    assert not rows
    assert (letter["subject"], letter["raw"], letter["stream_seq"]) == (subject, b"", 3)
    assert letter["content"] == data
    assert reason in str(letter["reason"])


@pytest.mark.parametrize("changes", [{"at": datetime(1900, 1, 1, tzinfo=UTC)}, {"ingress_seq": -1}])
def test_what_clickhouse_cannot_hold_is_a_dead_letter(changes: dict[str, object]) -> None:
    event = e.attempt().model_copy(update=changes)
    assert list(build(e.deliveries([event]), "AUDIT", 1)) == [t.DEAD_LETTERS]


def test_huge_integers_in_free_json_are_kept() -> None:
    operation = e.attempt().operation.model_copy(update={"attributes": {"n": 10**30}})
    event = e.attempt(operation=operation)
    assert only(t.ATTEMPTS, event)["content"] == e.encoded(event)


@given(
    subject=st.sampled_from(["cs.attempt.http.x", "cs.outcome.http.x", "cs.frame.http.x", "cs.session.opened.http"])
    | st.text(max_size=30),
    data=st.binary(max_size=200) | st.dictionaries(st.text(max_size=5), st.integers()).map(lambda d: repr(d).encode()),
)
def test_nothing_stops_the_stream(subject: str, data: bytes) -> None:
    delivery = Delivery(subject, data, 1, 1, 1)
    first, again = build([delivery], "AUDIT", 1), build([delivery], "AUDIT", 1)
    assert first == again
    assert sum(len(rows) for rows in first.values()) == 1
