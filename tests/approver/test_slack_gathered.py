"""All messages of a sheet: exact, within Slack's limits, inert, and posted or changed only when they must be."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.slack_standin.blockkit import MESSAGE_TEXT, message_complaints, text_length, view_complaints
from examples.slack_standin.mrkdwn import code_blocks, mrkdwn_texts, references
from schemas.approvals import Notice, Preview, Use
from schemas.events import Outcome
from schemas.verdicts import Requirement
from services.approver.pending import Action, Approve, BreakGlass, Deny, Expire, Withdraw, move
from services.approver.record import Held, asked
from services.approver.slack import gathered, rendering, review
from services.approver.slack.blocks import APPROVE, DENY
from services.approver.slack.gathering import MAX_MEMBERS, gather
from services.approver.slack.kit import Block
from services.approver.slack.rendering import ANSWER, OUTCOMES, QUESTION, Page, pages
from services.approver.slack.shape import HOLE
from services.approver.slack.sheet import Part, Selection, Sheet
from tests.approver.builders import DBA, person, question
from tests.approver.test_blocks import NASTY

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALICE, BOB = person("alice"), person("bob", "dba", "sre")
GLASS = DBA.model_copy(update={"break_glass": ("sre",)})


def records(*statements: str, requirements: tuple[Requirement, ...] = (), **more) -> list[Held]:
    return [asked(question(*requirements, now=NOW, statement=text, **more)) for text in statements]


def deletes(count: int, **more) -> list[Held]:
    return records(*(f"DELETE FROM orders WHERE id = {number + 7}" for number in range(count)), **more)


def sheet_of(found: list[Held], **parts: Part) -> Sheet:
    [sheet] = gather(found, [], "#a", NOW, lambda _: True)
    return sheet.model_copy(update={"parts": parts})


def moved(record: Held, action: Action, after: float = 61) -> Held:
    result = move(record, action, NOW + timedelta(seconds=after))
    assert isinstance(result, Held)
    return result


def used(record: Held, **more) -> Held:
    use = Use(
        at=NOW, operation_id=record.request.operation_id, **({"outcome": Outcome.FORWARDED, "total_ms": 84} | more)
    )
    return record.model_copy(update={"use": use})


def words(blocks: list[Block]) -> str:
    return html.unescape("\n".join(mrkdwn_texts(blocks)))


def buttons(blocks: list[Block]) -> dict[str, Block]:
    return {one["action_id"]: one for block in blocks if block["type"] == "actions" for one in block["elements"]}


def page(sheet: Sheet, found: list[Held], part: str, **calls: str) -> Page | None:
    return next((one for one in pages(sheet, found, calls) if one.part.partition(".")[0] == part), None)


def test_several_of_one_shape_are_one_statement_and_a_list_of_what_differs() -> None:
    found = deletes(15)
    text, blocks = gathered.message(sheet_of(found), found)
    shown = words(blocks)
    assert text.startswith("Approval needed: 15 × sql.delete on orders")
    assert code_blocks(shown)[0].strip() == f"DELETE FROM orders WHERE id = {HOLE}"
    assert [f"*{number + 1}.* `{number + 7}`" in shown for number in range(15)] == [True] * 15
    assert shown.count("the customer asked for it") == 1
    offered = buttons(blocks)
    assert offered[APPROVE]["text"]["text"] == "Approve all 15"
    assert offered[DENY]["text"]["text"] == "Deny all 15…"
    assert gathered.REVIEW in offered


def test_the_button_for_all_stands_for_those_that_are_listed() -> None:
    found = deletes(3)
    sheet = sheet_of(found)
    for shown in (found[:2], found):
        selection = Selection.parse(buttons(gathered.message(sheet, shown)[1])[APPROVE]["value"])
        assert selection
        assert selection.covers(shown)
        assert selection.count == len(shown)


def test_the_list_says_how_each_was_settled_and_asks_about_the_others() -> None:
    found = deletes(4)
    found[0] = moved(found[0], Approve(ALICE))
    found[1] = moved(found[1], Deny(BOB, "not that one"))
    found[2] = moved(found[2], Expire(), 901)
    _, blocks = gathered.message(sheet_of(found), found)
    shown = words(blocks)
    assert "*1.* `7` · ✅ `alice@example.com`" in shown
    assert "*2.* `8` · ⛔ `bob@example.com`" in shown
    assert "*3.* `9` · ⌛ expired" in shown
    assert buttons(blocks)[APPROVE]["text"]["text"] == "Approve the last one"
    found[3] = moved(found[3], Withdraw("the caller left"))
    _, blocks = gathered.message(sheet_of(found), found)
    assert buttons(blocks) == {}
    assert "1 approved, 1 denied, 1 expired, 1 withdrawn" in words(blocks)


def test_the_blast_radius_stands_with_each_where_it_differs() -> None:
    found = deletes(2, requirements=(DBA,))
    found = [
        record.model_copy(update={"preview": Preview(at=NOW, estimated_rows=rows * 10, counted_rows=rows)})
        for record, rows in zip(found, (1, 1238), strict=True)
    ]
    shown = words(gathered.message(sheet_of(found), found)[1])
    assert "*2.* `8` · the planner expects ~12,380 rows; counted: 1,238" in shown
    alone = words(pages(sheet_of(found[:1]), found[:1], {})[0].blocks)
    assert "*Blast radius:* the planner expects ~10 rows; counted: 1" in alone


def test_reviewing_shows_each_statement_whole_with_its_own_buttons() -> None:
    found = deletes(MAX_MEMBERS, requirements=(GLASS,))
    found[1] = moved(found[1], Approve(ALICE))
    selection = Selection.of(sheet_of(found), found)
    form = review.form(selection, found, "one <was> refused")
    assert view_complaints(form) == []
    shown = words(form["blocks"])
    assert [f"DELETE FROM orders WHERE id = {number + 7}\n" in shown for number in range(MAX_MEMBERS)] == [True] * 20
    values = [block["elements"][0]["value"] for block in form["blocks"] if block["type"] == "actions"]
    assert values == [record.approval_id for at, record in enumerate(found) if at != 1]
    assert "one <was> refused" in shown


def test_outcomes_are_one_reply_in_the_thread() -> None:
    found = [moved(record, Approve(ALICE)) for record in deletes(2)]
    sheet = sheet_of(found, question=Part(channel="C", ts="1", shown="x"))
    assert page(sheet, found, OUTCOMES) is None
    found[0] = used(found[0], rows=1238, status="DELETE 1238")
    one = page(sheet, found, OUTCOMES)
    assert one
    assert one.where == "thread"
    assert one.text == "1 of 2 approved operations ended, 1,238 rows in all"
    found[1] = used(found[1], outcome=Outcome.FAILED, status="23503", error="the upstream refused")
    both = page(sheet, found, OUTCOMES)
    assert both
    assert both.digest != one.digest
    assert "`7`: ✅ done, 1,238 rows, status `DELETE 1238`, 84 ms" in words(both.blocks)
    assert "`8`: ❌ failed, status `23503`, the upstream refused, 84 ms" in words(both.blocks)
    alone = page(sheet_of(found[:1], question=Part(channel="C", ts="1")), found[:1], OUTCOMES)
    assert alone
    assert "The approved operation: ✅ done, 1,238 rows" in words(alone.blocks)


def test_the_asker_is_told_what_people_said() -> None:
    [record] = deletes(1)
    sheet = sheet_of([record], question=Part(channel="C", ts="1"))
    assert page(sheet, [record], ANSWER) is None
    told = page(sheet, [moved(record, Deny(BOB, "too many"))], ANSWER)
    assert told
    assert told.where == "direct"
    assert "⛔ Denied" in words(told.blocks)
    assert "bob@example.com" in told.text
    assert "too many" in words(told.blocks)
    assert page(sheet, [moved(record, Withdraw("left"))], ANSWER) is None


def test_breaking_glass_is_loud_and_names_who_and_why() -> None:
    [record] = deletes(1, requirements=(GLASS,))
    record = moved(record, BreakGlass(BOB, "the site is down <!here>"))
    found = pages(sheet_of([record], question=Part(channel="C", ts="1", shown="x")), [record], {})
    assert found[0].part == f"alarm.{record.approval_id}"
    assert found[0].where == "channel"
    assert found[0].text.startswith("<!channel> ")
    live = {name for text in mrkdwn_texts(found[0].blocks) for name in references(text)}
    assert {name.split("^")[0] for name in live} == {"!channel", "!date"}
    assert "bob@example.com" in words(found[0].blocks)
    assert "the site is down" in words(found[0].blocks)
    assert "🚨 Let through by breaking glass" in words(found[1].blocks) or "🚨" in found[1].text
    assert found[0].due(Part(channel="C", ts="2")) is None  # it calls once


def test_an_escalation_calls_people_once_for_all_on_the_sheet() -> None:
    notice = Notice(kind="escalated", at=NOW, groups=("oncall",), rule="writes-need-a-person")
    found = [record.model_copy(update={"notices": (notice,)}) for record in deletes(3)]
    sheet = sheet_of(found, question=Part(channel="C", ts="1", shown="x"))
    calls = [one for one in pages(sheet, found, {"oncall": "<@U1>"}) if one.part.startswith("call.")]
    assert len(calls) == 1
    assert "<@U1>: nobody has settled" in calls[0].text
    assert calls[0].where == "thread"
    asking = page(sheet, found, QUESTION)
    assert asking
    assert "⏫ `oncall` asked as well" in words(asking.blocks)


def test_a_reminder_changes_the_question() -> None:
    [record] = deletes(1)
    sheet = sheet_of([record])
    before = page(sheet, [record], QUESTION)
    notice = Notice(kind="reminder", at=NOW + timedelta(minutes=7), groups=("dba",))
    after = page(sheet, [record.model_copy(update={"notices": (notice,)})], QUESTION)
    assert before
    assert after
    assert before.digest != after.digest
    assert "⏰ Reminded" in words(after.blocks)


def test_only_the_last_reminder_calls_people() -> None:
    [record] = deletes(1)
    sheet = sheet_of([record], question=Part(channel="C", ts="1"))
    half = Notice(kind="reminder", at=NOW + timedelta(minutes=7.5), groups=("dba",))
    last = Notice(kind="reminder", at=NOW + timedelta(minutes=13.5), groups=("dba",))
    assert page(sheet, [record.model_copy(update={"notices": (half,)})], "call") is None
    called = page(sheet, [record.model_copy(update={"notices": (half, last)})], "call", dba="<@U1>")
    assert called
    assert called.text.startswith("⏰ <@U1>: `sql.delete` on `orders` still waits, and expires <!date^")
    assert called.where == "thread"


def test_what_was_settled_before_anybody_saw_it_is_not_asked() -> None:
    [record] = [moved(record, Expire(), 901) for record in deletes(1)]
    assert page(sheet_of([record]), [record], QUESTION) is None
    assert page(sheet_of([record], question=Part(channel="C")), [record], QUESTION)  # an intent may have been posted


@pytest.mark.parametrize(
    ("part", "follows", "due"),
    [
        (None, True, "post"),
        (Part(channel="C"), True, "post"),
        (Part(channel="C", ts="1", shown="old"), True, "update"),
        (Part(channel="C", ts="1", shown="old"), False, None),
        (Part(channel="C", ts="1", shown="old", gone=True), True, None),
        (Part(channel="", gone=True), True, None),
    ],
)
def test_what_has_to_be_done_is_the_difference(part: Part | None, follows: bool, due: str | None) -> None:
    wanted = Page(QUESTION, "channel", "text", [], 1, follows)
    assert wanted.due(part) == due
    if part and part.ts:
        assert wanted.due(part.model_copy(update={"shown": wanted.digest})) is None


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(NASTY) | st.text(max_size=20), max_size=12).map("".join), min_size=1, max_size=25
    ),
    st.lists(st.sampled_from(NASTY), max_size=20).map("".join),
    st.sampled_from(["open", "denied", "approved"]),
)
def test_hostile_values_are_inert_and_every_message_is_one_that_slack_takes(
    values: list[str], elsewhere: str, end: str
) -> None:
    identity = question().identity.model_copy(
        update={"subject": elsewhere or "x", "email": elsewhere, "groups": (elsewhere,)}
    )
    more = {"identity": identity, "action": elsewhere or "a", "resources": (elsewhere,)}
    statements = [f"x '{value.replace(chr(39), '')}' {number}" for number, value in enumerate(values)]
    found = records(*statements, **more)
    if end != "open":
        found = [
            moved(one, Deny(ALICE, elsewhere) if end == "denied" else Approve(ALICE, reason=elsewhere)) for one in found
        ]
        found = [used(one, error=elsewhere, status=elsewhere) for one in found]
    by_id = {record.approval_id: record for record in found}
    for sheet in gather(found, [], "#a", NOW, lambda _: True):
        on_it = [by_id[member] for member in sheet.members]
        shown = sheet.model_copy(update={"parts": {QUESTION: Part(channel="C", ts="1")}})
        for one in rendering.pages(shown, on_it, {}):
            assert message_complaints(one.blocks) == []
            assert text_length(one.blocks) <= MESSAGE_TEXT
            live = {name.split("^")[0] for text in [one.text, *mrkdwn_texts(one.blocks)] for name in references(text)}
            assert live <= {"!date"}
            assert all(text.count("`") % 2 == 0 for text in mrkdwn_texts(one.blocks))
        assert view_complaints(review.form(Selection.of(sheet, on_it), on_it)) == []


def test_the_fence_of_a_gathered_statement_cannot_be_left() -> None:
    found = records(*(f"SELECT '```' || '<!channel>{number}'" for number in range(2)))
    shown = "\n".join(mrkdwn_texts(gathered.message(sheet_of(found), found)[1]))
    assert re.search("<!channel", shown) is None
