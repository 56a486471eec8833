"""Shapes lose nothing, and only requests that differ in nothing but values are gathered."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.approvals import Preview
from schemas.base import new_id
from services.approver.record import Held, asked
from services.approver.slack.gathering import GATHER, MAX_MEMBERS, gather
from services.approver.slack.shape import HOLE, Template, shape_of, varying
from services.approver.slack.sheet import Selection, Sheet
from tests.approver.builders import AGENT, DBA, SECURITY, question

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXTS = st.text(alphabet=st.sampled_from(list("""ab_-. '"\\(){}:,=0123456789é▢\n""")), max_size=120)


@given(TEXTS | st.text(max_size=80))
def test_a_template_and_its_values_are_the_text(text: str) -> None:
    template = Template.of(text)
    if template is None:
        assert HOLE in text or len(text) > 40
    else:
        assert template.filled == text


@given(st.lists(st.tuples(st.integers(0, 99), st.text(alphabet="xyz ", max_size=5)), min_size=1, max_size=6))
def test_what_is_listed_under_one_text_gives_each_statement_back(pairs: list[tuple[int, str]]) -> None:
    statements = [f"UPDATE t SET note = '{words}' WHERE id = {number} AND kind = 3" for number, words in pairs]
    templates = [template for statement in statements if (template := Template.of(statement))]
    text, rows = varying(templates)
    for statement, row in zip(statements, rows, strict=True):
        parts = text.split(HOLE)
        assert "".join(part + value for part, value in zip(parts, [*row, ""], strict=True)) == statement
    assert "kind = 3" in text


def record(statement: str = "DELETE FROM orders WHERE id = 7", **more) -> Held:
    return asked(question(now=NOW, statement=statement, **more))


SAME = [
    record("DELETE FROM orders WHERE id = 8"),
    record(identity=AGENT.model_copy(update={"claims": {"jti": "another token"}})),
    record(digest="cd" * 32),
]
OTHER = [
    record("DELETE FROM customers WHERE id = 7"),
    record("DELETE FROM orders WHERE id > 7"),
    record(resources=("orders", "items")),
    record(action="sql.update"),
    record(identity=AGENT.model_copy(update={"subject": "agent-8"})),
    record(identity=AGENT.model_copy(update={"issuer": "https://elsewhere.example"})),
    asked(question(DBA, SECURITY, now=NOW)),
    record(grant=60),
    asked(question(now=NOW).model_copy(update={"policy_version": "v2"})),
    asked(question(now=NOW).model_copy(update={"findings": {"EMAIL": 1}})),
]


@pytest.mark.parametrize("other", SAME)
def test_values_tokens_and_digests_do_not_change_the_shape(other: Held) -> None:
    first, second = shape_of(record()), shape_of(other)
    assert first
    assert second
    assert first.key == second.key


@pytest.mark.parametrize("other", OTHER)
def test_whatever_else_a_person_is_shown_does(other: Held) -> None:
    first, second = shape_of(record()), shape_of(other)
    assert first
    assert second
    assert first.key != second.key


@pytest.mark.parametrize(
    "alone", [record(complete=False), record("SELECT 1 -- " + "x" * 3000), record(f"SELECT '{HOLE}'")]
)
def test_what_cannot_be_listed_whole_stands_alone(alone: Held) -> None:
    assert shape_of(alone) is None
    [sheet] = gather([alone], [], "#a", NOW, lambda _: True)
    assert sheet.shape == ""
    assert len(gather([alone], [sheet], "#a", NOW, lambda _: True)) == 1


def test_paths_and_bodies_of_http_have_shapes_too() -> None:
    paths = [f"/v1/orders/{number}/refunds" for number in (1, 2)]
    requests = [record(f'{{"of": "{path}"}}', method="POST", path=path, resources=(path,)) for path in paths]
    keys = {shape.key for request in requests if (shape := shape_of(request))}
    assert len(keys) == 1


def members(sheets: list[Sheet]) -> list[int]:
    return [len(sheet.members) for sheet in sheets]


def test_a_sheet_takes_as_many_as_can_be_read_and_then_another_begins() -> None:
    new = [record(f"DELETE FROM orders WHERE id = {number}") for number in range(MAX_MEMBERS + 3)]
    assert members(gather(new, [], "#a", NOW, lambda _: True)) == [MAX_MEMBERS, 3]


def test_a_sheet_takes_no_more_than_fits_into_its_message() -> None:
    new = [record(f"DELETE FROM orders WHERE note = '{'x' * 900}{number}'") for number in range(6)]
    sheets = gather(new, [], "#a", NOW, lambda _: True)
    assert sum(members(sheets)) == 6
    assert max(members(sheets)) < 5


def test_nobody_joins_what_is_settled_or_long_out_of_sight() -> None:
    [sheet] = gather([record()], [], "#a", NOW, lambda _: True)
    later = record("DELETE FROM orders WHERE id = 8")
    assert members(gather([later], [sheet], "#a", NOW, lambda _: True)) == [2]
    assert members(gather([later], [sheet], "#a", NOW, lambda _: False)) == [1]
    assert members(gather([later], [sheet], "#a", NOW + GATHER, lambda _: True)) == [1]
    assert members(gather([later], [sheet], "#a", NOW + GATHER - timedelta(seconds=1), lambda _: True)) == [2]


def test_a_selection_means_those_that_were_listed_and_no_others() -> None:
    records = [record(f"DELETE FROM orders WHERE id = {number}") for number in range(3)]
    [sheet] = gather(records, [], "#a", NOW, lambda _: True)
    selection = Selection.of(sheet, records[:2])
    assert Selection.parse(selection.value) == selection
    assert selection.covers(records[:2])
    assert not selection.covers(records)
    assert not selection.covers(records[1:])
    assert not selection.covers([records[0], record("DELETE FROM orders WHERE id = 1")])
    changed = records[1].request.model_copy(
        update={"operation": records[1].request.operation.model_copy(update={"digest": "00" * 32})}
    )
    assert not selection.covers([records[0], asked(changed)])
    previewed = [one.model_copy(update={"preview": Preview(at=NOW, counted_rows=3)}) for one in records[:2]]
    assert selection.covers(previewed)


@pytest.mark.parametrize("value", ["", "x", "{id}", "{id}:2", "{id}:-1:aa", "{id}:²:aa", "::"])
def test_a_value_that_we_never_wrote_means_nothing(value: str) -> None:
    value = value.replace("{id}", new_id())
    assert Selection.parse(value) is None
