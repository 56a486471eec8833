"""Who is asked, who counts for what, and when others are: the rules of a question, each once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import ApprovalState as State
from schemas.verdicts import Escalation, Requirement, Share
from services.approver import timing
from services.approver.needed import needed
from services.approver.pending import Action, Approve, BreakGlass, Deny, Escalate, Expire, Refusal, Remind, Why, move
from services.approver.record import Held, asked
from tests.approver.builders import AGENT, DBA, SECURITY, person, question

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAN, DEE = person("dan", "dba"), person("dee", "dba")
SUE, SID, SAM = person("sue", "security"), person("sid", "security"), person("sam", "sre")
OLA, BOTH = person("ola", "oncall"), person("bo", "dba", "security")

ANY = Requirement(
    rule="any", by=("dba", "oncall"), shares=(Share(group="dba", people=2), Share(group="oncall", people=1))
)
ALL = Requirement(
    rule="all",
    by=("dba", "security"),
    match="all",
    quorum=2,
    shares=(Share(group="dba", people=1), Share(group="security", people=2)),
)
LATER = DBA.model_copy(update={"escalation": Escalation(after=300, to=("oncall",))})
GLASS = DBA.model_copy(update={"break_glass": ("sre",), "quorum": 2})


def held(*requirements: Requirement, **more) -> Held:
    return asked(question(*requirements, now=NOW, **more))


def after(record: Held, *actions: Action, at: float = 1) -> Held:
    for action in actions:
        result = move(record, action, NOW + timedelta(seconds=at))
        assert isinstance(result, Held), result
        record = result
    return record


def why(record: Held, action: Action, at: float = 1) -> Why:
    result = move(record, action, NOW + timedelta(seconds=at))
    assert isinstance(result, Refusal), result.state
    return result.why


def test_any_of_the_groups_is_enough_when_its_number_is_full() -> None:
    assert after(held(ANY), Approve(OLA)).state is State.APPROVED
    one = after(held(ANY), Approve(DAN))
    assert (one.state, needed(one)) == (State.PARTLY_APPROVED, "1 more of dba, or 1 more of oncall")
    assert after(one, Approve(DEE)).state is State.APPROVED


def test_all_of_the_groups_have_to_be_full() -> None:
    some = after(held(ALL), Approve(DAN), Approve(SUE))
    assert (some.state, needed(some)) == (State.PARTLY_APPROVED, "1 more of security")
    assert after(some, Approve(SID)).state is State.APPROVED


def test_somebody_in_both_groups_counts_for_both_and_once_for_the_quorum() -> None:
    one_each = ALL.model_copy(update={"shares": (Share(group="dba"), Share(group="security")), "quorum": 1})
    assert after(held(one_each), Approve(BOTH)).state is State.APPROVED
    two_people = one_each.model_copy(update={"quorum": 2})
    alone = after(held(two_people), Approve(BOTH))
    assert (alone.state, needed(alone)) == (State.PARTLY_APPROVED, "1 more of dba or security")
    assert after(alone, Approve(DAN)).state is State.APPROVED


def test_two_rules_are_told_together() -> None:
    assert needed(held(DBA, SECURITY)) == "1 more of dba; and 1 more of security"


def test_those_escalated_to_decide_from_then_on_and_not_before() -> None:
    record = held(LATER)
    assert why(record, Approve(OLA)) is Why.NOT_ALLOWED
    assert why(record, Escalate(), at=299) is Why.NOT_DUE
    escalated = after(record, Escalate(), at=300)
    assert (escalated.state, escalated.escalated) == (State.REQUESTED, (LATER.rule,))
    assert needed(escalated) == "1 more of dba (or of oncall, escalated)"
    assert [(notice.kind, notice.groups) for notice in escalated.notices] == [("escalated", ("oncall",))]
    assert [(step.what, step.state) for step in escalated.history] == [("", "requested"), ("escalated", "requested")]
    assert why(escalated, Escalate(), at=301) is Why.NOT_DUE
    assert after(escalated, Approve(OLA), at=302).state is State.APPROVED
    assert after(escalated, Deny(OLA, "no"), at=302).state is State.DENIED


def test_those_escalated_to_stand_in_for_each_group_but_are_one_person() -> None:
    rule = ALL.model_copy(update={"escalation": Escalation(after=1, to=("oncall",))})
    record = after(held(rule), Escalate(), Approve(OLA))
    assert (record.state, needed(record)) == (
        State.PARTLY_APPROVED,
        "1 more of security (or of oncall, escalated)",
    )
    assert after(record, Approve(SUE)).state is State.APPROVED


def test_a_settled_question_is_neither_escalated_nor_reminded_of() -> None:
    denied = after(held(LATER), Deny(DAN, "no"))
    assert why(denied, Escalate(), at=400) is Why.ALREADY_DECIDED
    assert why(denied, Remind(), at=700) is Why.ALREADY_DECIDED
    assert why(held(LATER), Escalate(), at=901) is Why.NOT_DUE, "it has expired, though nobody has said so yet"


def test_glass_is_broken_by_one_with_a_reason_and_said_aloud() -> None:
    done = after(held(GLASS), BreakGlass(SAM, " the shop is down "))
    assert (done.state, done.break_glass, done.reason) == (State.APPROVED, True, "the shop is down")
    assert (done.decided_by, [one.label for one in done.approved_by]) == ("sam@example.com", ["sam@example.com"])
    assert done.history[-1].what == "break_glass"
    assert [(notice.kind, notice.groups) for notice in done.notices] == [("break_glass", ("dba", "sre"))]
    assert done.untold == done.notices, "also after it is settled"
    assert done.grant_seconds == 0


def test_breaking_glass_gives_no_grant_whatever_others_agreed_to() -> None:
    partly = after(held(GLASS), Approve(DAN, grant_seconds=900))
    done = after(partly, BreakGlass(SAM, "now"))
    assert (done.grant_seconds, len(done.approved_by)) == (0, 2)


def test_who_may_not_break_glass() -> None:
    assert why(held(GLASS), BreakGlass(DAN, "I am in a hurry")) is Why.NOT_ALLOWED
    assert why(held(GLASS), BreakGlass(SAM, "  ")) is Why.NO_REASON
    assert why(held(GLASS), Approve(SAM)) is Why.NOT_ALLOWED, "those named for emergencies do not decide otherwise"
    own = held(GLASS, identity=AGENT.model_copy(update={"owner": "sam"}))
    assert why(own, BreakGlass(SAM, "mine")) is Why.OWN_OPERATION
    assert why(held(GLASS, SECURITY), BreakGlass(SAM, "half of it")) is Why.NOT_ALLOWED
    satisfied = after(held(GLASS, SECURITY), Approve(SUE))
    assert after(satisfied, BreakGlass(SAM, "the rest of it")).state is State.APPROVED
    assert why(held(GLASS), BreakGlass(SAM, "late"), at=900) is Why.EXPIRED


def test_people_are_reminded_twice_and_of_missed_reminders_once() -> None:
    record = held(DBA)
    assert [(moment - NOW).total_seconds() for moment in timing.reminders(record)] == [450, 810]
    assert why(record, Remind(), at=449) is Why.NOT_DUE
    once = after(record, Remind(), at=450)
    assert (once.state, once.history[-1].what) == (State.REQUESTED, "reminded")
    assert once.notices[-1].groups == ("dba",)
    assert why(once, Remind(), at=809) is Why.NOT_DUE
    twice = after(once, Remind(), at=820)
    assert why(twice, Remind(), at=899) is Why.NOT_DUE
    assert why(after(record, Remind(), at=820), Remind(), at=830) is Why.NOT_DUE
    assert timing.reminders(held(DBA, expires=60)) == ()


@given(st.floats(0, 2000), st.floats(1, 1000), st.floats(1, 899))
def test_the_next_move_is_never_missed_and_never_repeated(at: float, expires: float, escalate: float) -> None:
    """Whatever the sweeper does at the time it was told to look, afterwards it is told a later one, or none."""
    rule = DBA.model_copy(update={"escalation": Escalation(after=escalate, to=("oncall",))})
    record = held(rule, expires=expires)
    now = NOW + timedelta(seconds=at)
    due = timing.next_move(record)
    for action in (Escalate(), Remind()):
        result = move(record, action, now)
        if isinstance(result, Held):
            assert due
            assert due <= now < record.request.terms.expires_at
            record = result
    if due and due <= now < record.request.terms.expires_at:
        following = timing.next_move(record)
        assert following is None or following > now


@pytest.mark.parametrize("settled", [Expire(), Deny(DAN, "no")])
def test_notices_of_a_question_that_is_over_are_told_no_more(settled: Action) -> None:
    record = after(after(held(LATER), Escalate(), at=300), settled, at=900 if isinstance(settled, Expire) else 400)
    assert record.notices
    assert record.untold == ()
