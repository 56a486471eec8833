"""The state machine alone: each rule once, and a model that tries to break them together."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from schemas.events import ApprovalState as State
from schemas.identity import Identity
from services.approver.eligibility import own_operation
from services.approver.pending import Approve, Deny, Expire, Refusal, Spend, Why, Withdraw, move
from services.approver.record import Held, asked
from tests.approver.builders import AGENT, DBA, SECURITY, person, question

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALICE, BOB, EVE = person("alice"), person("bob", "dba", "security"), person("eve", "interns")
TWO = DBA.model_copy(update={"quorum": 2})
FINAL = {State.DENIED, State.EXPIRED, State.WITHDRAWN, State.SPENT}


def held(*requirements, **more) -> Held:
    return asked(question(*requirements, now=NOW, **more))


def moved(record: Held, action, at: float = 1) -> Held:
    result = move(record, action, NOW + timedelta(seconds=at))
    assert isinstance(result, Held), result
    return result


def why(record: Held, action, at: float = 1) -> Why:
    result = move(record, action, NOW + timedelta(seconds=at))
    assert isinstance(result, Refusal), result.state
    return result.why


def test_one_yes_is_enough_for_a_quorum_of_one() -> None:
    approved = moved(held(), Approve(ALICE))
    assert (approved.state, approved.decided_by) == (State.APPROVED, "alice@example.com")
    assert [step.state for step in approved.history] == [State.REQUESTED, State.APPROVED]


def test_a_quorum_of_two_needs_two_people() -> None:
    once = moved(held(TWO), Approve(ALICE))
    assert once.state is State.PARTLY_APPROVED
    assert why(once, Approve(ALICE)) is Why.SAME_PERSON_TWICE
    as_in_slack = ALICE.model_copy(update={"subject": "U1", "issuer": "", "email": "Alice@Example.com"})
    assert why(once, Approve(as_in_slack)) is Why.SAME_PERSON_TWICE
    assert moved(once, Approve(BOB)).state is State.APPROVED
    accounts = [person(name).model_copy(update={"email": "", "owner": "alice"}) for name in ("deployer", "reporter")]
    for account in accounts:
        assert why(once, Approve(account)) is Why.SAME_PERSON_TWICE
    assert why(moved(held(TWO), Approve(accounts[0])), Approve(accounts[1])) is Why.SAME_PERSON_TWICE


def test_every_rule_must_be_satisfied_and_one_person_may_count_for_several() -> None:
    assert moved(held(DBA, SECURITY), Approve(ALICE)).state is State.PARTLY_APPROVED
    assert moved(held(DBA, SECURITY), Approve(BOB)).state is State.APPROVED


def test_a_no_ends_it_whatever_was_said_before() -> None:
    denied = moved(moved(held(TWO), Approve(ALICE)), Deny(BOB, "too risky"))
    assert (denied.state, denied.decided_by, denied.reason) == (State.DENIED, "bob@example.com", "too risky")
    assert why(denied, Approve(ALICE)) is Why.ALREADY_DECIDED


def test_only_those_who_are_asked_decide() -> None:
    assert why(held(), Approve(EVE)) is Why.NOT_ALLOWED
    assert why(held(), Deny(EVE)) is Why.NOT_ALLOWED


def test_nobody_is_asked_when_a_rule_names_no_group() -> None:
    assert why(held(DBA.model_copy(update={"by": ()})), Approve(ALICE)) is Why.NOT_ALLOWED


@pytest.mark.parametrize(
    ("requester", "owner"),
    [
        (AGENT.model_copy(update={"subject": "alice"}), ""),
        (AGENT.model_copy(update={"issuer": "https://other", "email": "ALICE@example.com"}), ""),
        (AGENT.model_copy(update={"owner": "alice"}), ""),
        (AGENT.model_copy(update={"owner": "Alice@example.com"}), ""),
        (AGENT.model_copy(update={"issuer": "https://other", "subject": "alice@example.com"}), ""),
        (AGENT, "agent-7"),
        (AGENT.model_copy(update={"owner": "carol"}), "carol"),
    ],
)
def test_nobody_decides_on_their_own_operation(requester: Identity, owner: str) -> None:
    record = held(identity=requester)
    reviewer = ALICE.model_copy(update={"owner": owner})
    assert own_operation(requester, reviewer)
    assert why(record, Approve(reviewer)) is Why.OWN_OPERATION
    assert why(record, Deny(reviewer)) is Why.OWN_OPERATION


def test_two_requesters_without_address_or_owner_are_not_one_person() -> None:
    anonymous = Identity(subject="x", issuer="i")
    assert not own_operation(anonymous, ALICE.model_copy(update={"email": ""}))


def test_from_the_moment_of_expiry_nobody_decides_and_before_it_nothing_expires() -> None:
    assert why(held(), Approve(ALICE), at=900) is Why.EXPIRED
    assert why(held(), Expire(), at=899) is Why.NOT_DUE
    expired = moved(held(), Expire(), at=900)
    assert expired.state is State.EXPIRED
    assert why(expired, Deny(ALICE), at=901) is Why.EXPIRED


def test_a_withdrawn_question_cannot_be_decided_and_an_approved_one_not_withdrawn() -> None:
    withdrawn = moved(held(), Withdraw("gone"))
    assert why(withdrawn, Approve(ALICE)) is Why.ALREADY_DECIDED
    assert why(moved(held(), Approve(ALICE)), Withdraw("gone")) is Why.ALREADY_DECIDED


def test_a_grant_stays_within_the_rule_and_is_as_long_as_the_most_careful_allows() -> None:
    assert why(held(), Approve(ALICE, grant_seconds=3601)) is Why.NO_SUCH_GRANT
    assert why(held(DBA, SECURITY), Approve(BOB, grant_seconds=1)) is Why.NO_SUCH_GRANT
    once = moved(held(TWO), Approve(ALICE, grant_seconds=3600))
    assert moved(once, Approve(BOB, grant_seconds=900)).grant_seconds == 900
    assert moved(once, Approve(BOB)).grant_seconds == 0


def test_an_approval_is_spent_once() -> None:
    spent = moved(moved(held(), Approve(ALICE)), Spend("op", "ingress"))
    assert (spent.state, spent.resolution) == (State.SPENT, State.APPROVED)
    assert why(spent, Spend("op", "ingress")) is Why.ALREADY_DECIDED
    assert why(held(), Spend("op", "ingress")) is Why.NOT_DUE


PEOPLE = [person(name, *groups) for name in "abcd" for groups in (("dba",), ("security",), ("dba", "security"), ("x",))]
people = st.sampled_from([*PEOPLE, person("agent"), person("owner")])


class AnyOrder(RuleBasedStateMachine):
    """Clicks, time, withdrawal and use in any order."""

    @initialize(quorums=st.lists(st.integers(1, 3), min_size=1, max_size=2))
    def ask(self, quorums: list[int]) -> None:
        rules = [DBA, SECURITY]
        requirements = [rules[index].model_copy(update={"quorum": quorum}) for index, quorum in enumerate(quorums)]
        requester = AGENT.model_copy(update={"email": "agent@example.com", "owner": "owner"})
        self.record = held(*requirements, identity=requester)
        self.now = NOW
        self.final: State | None = None
        self.spends = 0

    def do(self, action) -> None:
        before = self.record
        result = move(before, action, self.now)
        if isinstance(result, Refusal):
            return
        assert before.state not in FINAL, "a final state was left"
        assert result.history[:-1] == before.history
        self.record = result
        self.spends += result.state is State.SPENT

    @rule(by=people, grant=st.sampled_from([0, 900, 7200]))
    def approve(self, by, grant: float) -> None:
        self.do(Approve(by, grant))

    @rule(by=people)
    def deny(self, by) -> None:
        self.do(Deny(by, "no"))

    @rule(seconds=st.integers(0, 500))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def expire(self) -> None:
        self.do(Expire())

    @rule()
    def withdraw(self) -> None:
        self.do(Withdraw("gone"))

    @rule()
    def spend(self) -> None:
        self.do(Spend("op", "ingress"))

    @invariant()
    def at_most_one_final_state_and_one_spend(self) -> None:
        finals = [step.state for step in self.record.history if step.state in FINAL]
        assert len(finals) <= 1
        assert self.spends <= 1

    @invariant()
    def no_approval_without_its_quorum_of_different_people(self) -> None:
        if self.record.resolution is not State.APPROVED:
            return
        for requirement in self.record.request.terms.requirements:
            counted = {one.email for one in self.record.approved_by if set(one.groups) & set(requirement.by)}
            assert len(counted) >= requirement.quorum
        assert not {one.subject for one in self.record.approved_by} & {"agent", "owner"}
        assert max(step.at for step in self.record.history[1:-1] or self.record.history[1:]) < NOW + timedelta(900)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestAnyOrder = AnyOrder.TestCase


@given(people, people)
def test_two_of_one_name_never_count_twice(one, other) -> None:
    record = held(TWO)
    first = move(record, Approve(one), NOW)
    if isinstance(first, Refusal):
        return
    second = move(first, Approve(other), NOW)
    assert isinstance(second, Refusal) == (
        one.email == other.email or not set(other.groups) & {"dba"} or other.subject == "agent"
    )
