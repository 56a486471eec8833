"""Clicks, expiry, revocation, crashes and redelivery in any order, on three approver copies and a real NATS.

    at most one spend of an approval           none from a final state, none after its time
    no approval without its people             counted here again, independently of the code
    what was written is never rewritten        each entry's history only grows
    one outcome on record, whoever crashed     and the same for everybody
    a grant ends                               with its window, its number of uses, its revocation

The suite runs a few dozen stories; `make model` runs COUNTERSIGN_MODEL_EXAMPLES of them (1,000).
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from schemas.approvals import Grant, Reviewer
from schemas.base import new_id
from schemas.events import ApprovalState as State
from schemas.events import ApprovalWithdrawn
from schemas.verdicts import Escalation, Requirement, Share
from services.approver.pending import Action, Approve, BreakGlass, Deny, Escalate, Expire
from services.approver.record import Held
from tests.approver.builders import AGENT, person, question
from tests.approver.plant import COPIES, Plant
from tests.conftest import until

EXAMPLES = int(os.environ.get("COUNTERSIGN_MODEL_EXAMPLES", "30"))
STEPS = 12
#: Seconds that people have; the model's clock runs through it in a few steps.
EXPIRES, GRANT, MAX_USES = 100.0, 40.0, 3

T = TypeVar("T")
FINAL = {State.DENIED, State.EXPIRED, State.WITHDRAWN, State.SPENT}
ASKER = AGENT.model_copy(update={"owner": "owner"})

RULES = {
    "one": Requirement(rule="one", by=("dba",), break_glass=("sre",)),
    "two": Requirement(rule="two", by=("dba",), quorum=2),
    "any": Requirement(
        rule="any",
        by=("dba", "oncall"),
        shares=(Share(group="dba", people=2), Share(group="oncall", people=1)),
        break_glass=("sre",),
    ),
    "all": Requirement(
        rule="all",
        by=("dba", "security"),
        match="all",
        shares=(Share(group="dba", people=1), Share(group="security", people=1)),
        quorum=2,
        escalation=Escalation(after=30, to=("lead",)),
    ),
}
PEOPLE = [
    *(person(name, "dba") for name in ("ann", "art")),
    person("ben", "dba", "security"),
    person("cy", "security"),
    person("ola", "oncall"),
    person("liv", "lead"),
    person("sam", "sre"),
    person("eve", "interns"),
    person("agent", "dba", "sre"),
    person("owner", "dba", "sre"),
]
people = st.sampled_from(PEOPLE)
#: Those who get a story somewhere; the others are to be refused.
helpful = st.sampled_from([one for one in PEOPLE if one.subject in ("ann", "ben", "ola")])
copies = st.integers(0, COPIES - 1)


#: Rules that ask, people who say yes to begin with (sam breaks the glass), and the grant they give.
OPENINGS = [
    ("one", "ann", GRANT),
    ("all", "ann ben cy", GRANT),
    ("any", "ola", GRANT),
    ("two", "ann ben", GRANT),
    ("one", "", 0),
    ("two", "ann", GRANT),
    ("all", "ann", 0),
    ("any", "sam", 0),
    ("one any", "ann", 0),
    ("all two", "", 0),
]


def only(condition: Callable[["Story"], bool]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The step does nothing otherwise.

    It is no `precondition`: what is open depends on time, too, and hypothesis must find the same rules to draw from
    whenever it begins a story in the same way.
    """

    def decorate(step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)
        def taken(self: "Story", **drawn: Any) -> None:
            if condition(self):
                step(self, **drawn)

        return taken

    return decorate


#: Clicks on what is over are tried as well, by the rules without this; but a story is not all of them.
still_open = only(lambda story: story.seen is None or story.seen.open)
with_grant = only(lambda story: story.seen is not None and story.seen.grant_id is not None)


class Story(RuleBasedStateMachine):
    """One question, from the asking to its end."""

    def __init__(self, plant: Plant, runner: asyncio.Runner) -> None:
        super().__init__()
        self.plant, self.runner = plant, runner
        self.spent = self.granted = 0
        self.revoked = False
        self.seen: Held | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 60))

    @initialize(opening=st.sampled_from(OPENINGS))
    def ask(self, opening: tuple[str, str, float]) -> None:
        """Most stories begin with people who have approved: what comes after that is worth as much."""
        names, said_yes, grant = opening
        rules = [RULES[name] for name in names.split()]
        self.request = question(
            *rules,
            identity=ASKER,
            now=self.plant.clock(),
            expires=EXPIRES,
            grant=GRANT,
            wait=0,
            terms={"max_uses": MAX_USES},
        )
        self.run(self.plant.ask(self.request))
        for copy, name in enumerate(said_yes.split()):
            by = next(one for one in PEOPLE if one.subject == name)
            action = BreakGlass(by, "the shop is down") if name == "sam" else Approve(by, grant)
            self.run(self._decide(copy % COPIES, action))

    # What people do

    @rule(copy=copies, by=helpful, grant=st.sampled_from([GRANT, 0]))
    @still_open
    def approve(self, copy: int, by: Reviewer, grant: float) -> None:
        self.run(self._decide(copy, Approve(by, grant)))

    @rule(copy=copies, by=people, seldom=st.integers(0, 4))
    @still_open
    def deny(self, copy: int, by: Reviewer, seldom: int) -> None:
        if seldom == 4:  # or no story would go on
            self.run(self._decide(copy, Deny(by, "no")))

    @rule(copy=copies, by=people)
    def approve_whoever_it_is(self, copy: int, by: Reviewer) -> None:
        self.run(self._decide(copy, Approve(by)))

    @rule(copy=copies, by=people, reason=st.sampled_from(["", "the shop is down"]))
    @still_open
    def break_glass(self, copy: int, by: Reviewer, reason: str) -> None:
        self.run(self._decide(copy, BreakGlass(by, reason)))

    @rule(clicks=st.lists(st.tuples(copies, people, st.booleans()), min_size=2, max_size=4))
    def click_at_once(self, clicks: list[tuple[int, Reviewer, bool]]) -> None:
        async def all_of_them() -> None:
            actions = (Approve(by, GRANT) if yes else Escalate() for _, by, yes in clicks)
            await asyncio.gather(*map(self._decide, (copy for copy, _, _ in clicks), actions))

        self.run(all_of_them())

    # What time and others do

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.plant.clock.ahead += timedelta(seconds=seconds)

    @rule(copy=copies, by=helpful, seconds=st.sampled_from([-2, 0, 1]))
    def click_about_the_end(self, copy: int, by: Reviewer, seconds: int) -> None:
        ahead = self.request.terms.expires_at + timedelta(seconds=seconds) - self.plant.clock()
        self.plant.clock.ahead += max(ahead, timedelta())
        self.run(self._decide(copy, Approve(by, GRANT)))

    @rule(copy=copies)
    @still_open
    def expire(self, copy: int) -> None:
        self.run(self._decide(copy, Expire()))

    @rule(copy=copies)
    @still_open
    def escalate(self, copy: int) -> None:
        self.run(self._decide(copy, Escalate()))

    @rule(times=st.integers(1, 2))
    @only(lambda story: story.seen is not None and len(story.seen.history) > 2)
    def withdraw(self, times: int) -> None:
        request = self.request
        event = ApprovalWithdrawn(
            ingress=request.ingress,
            session_id=request.session_id,
            approval_id=request.approval_id,
            operation_id=request.operation_id,
            reason="the caller disconnected",
        )

        async def leave() -> None:
            for _ in range(times):
                await self.plant.publish(event)
            await until(self._settled)

        self.run(leave())

    @rule(times=st.sampled_from([5, 1, 2]), grant_first=st.booleans())
    def use(self, times: int, grant_first: bool) -> None:
        """So many operations at once, on the approval and under its grant."""
        for what in (self._use_grant, self._spend) if grant_first else (self._spend, self._use_grant):
            what(times)

    def _spend(self, times: int) -> None:
        before = self.run(self.plant.record(self.request.approval_id))
        began = self.plant.clock()
        succeeded = self.run(self.plant.spends(self.request, times))
        if succeeded:
            assert before
            assert before.state is State.APPROVED
            assert began < self.request.terms.expires_at + timedelta(seconds=5)
        self.spent += succeeded

    def _use_grant(self, times: int) -> None:
        grant = self.run(self._grant()) if self.seen and self.seen.grant_id else None
        if grant is None:
            return
        over = self.plant.clock() >= grant.expires_at
        succeeded = self.run(self.plant.grant_uses(self.request, grant.certificate, times))
        assert not (succeeded and (over or self.revoked))
        self.granted += succeeded
        self.certificate = grant.certificate

    @rule(copy=copies)
    @with_grant
    def revoke(self, copy: int) -> None:
        grant = self.run(self._grant())
        if grant is None:
            return
        desk = self.plant.copies[copy].approver.desk
        self.run(desk.revoking.revoke(grant, "ann@example.com", "enough"))
        self.revoked = True
        assert self.run(self.plant.grant_uses(self.request, grant.certificate, 2)) == 0

    # What breaks

    @rule(copy=copies)
    def crash(self, copy: int) -> None:
        self.run(self._crash(copy))

    @rule(copy=copies, by=helpful, grant=st.sampled_from([0, GRANT]))
    def click_and_crash(self, copy: int, by: Reviewer, grant: float) -> None:
        """The decision is stored; the copy dies before it can tell anybody."""

        async def both() -> None:
            await self._decide(copy, Approve(by, grant))
            await self._crash(copy)

        self.run(both())

    @rule()
    def redeliver_the_question(self) -> None:
        self.run(self.plant.publish(self.request.model_copy(update={"event_id": new_id()})))

    @rule(copy=copies)
    def announce_again(self, copy: int) -> None:
        async def again() -> None:
            record = await self.plant.record(self.request.approval_id)
            if record and not record.open:
                await self.plant.copies[copy].approver.desk.announcer.announce(record)

        self.run(again())

    # What must hold

    @invariant()
    def what_was_written_stays(self) -> None:
        record = self.run(self.plant.record(self.request.approval_id)) if hasattr(self, "request") else None
        if record is None:
            return
        if self.seen:
            assert record.history[: len(self.seen.history)] == self.seen.history
            assert self.seen.state not in FINAL or record.state is self.seen.state
        assert sum(step.state in FINAL for step in record.history) <= 1
        assert self.spent <= 1
        assert (record.state is State.SPENT) == bool(self.spent)
        assert self.granted <= MAX_USES
        _check_people(record)
        self.seen = record

    @invariant()
    def nothing_failed(self) -> None:
        assert self.plant.failures == []

    def teardown(self) -> None:
        """Let time run out: whatever crashed, the question ends, once, and everybody is told the same."""
        if not hasattr(self, "request"):
            return
        self.plant.clock.ahead += timedelta(seconds=EXPIRES + GRANT)
        record = self.run(_end(self))
        assert self.run(self.plant.spends(self.request, 2)) == 0
        if self.granted:
            assert self.run(self.plant.grant_uses(self.request, self.certificate, 2)) == 0
        resolved = self.run(self.plant.resolutions(self.request.approval_id))
        assert {(event.event_id, event.state) for event in resolved} == {(resolved[0].event_id, record.resolution)}

    async def _decide(self, copy: int, action: Action) -> None:
        await self.plant.copies[copy].approver.desk.decide(self.request.approval_id, action)

    async def _crash(self, copy: int) -> None:
        await self.plant.copies[copy].crash()
        self.plant.copies[copy] = await self.plant.copy()

    async def _settled(self) -> bool:
        record = await self.plant.record(self.request.approval_id)
        return record is not None and not record.open

    async def _grant(self) -> Grant | None:
        """The grant in force, once it has been given by whichever copy; None after a revocation or its end."""
        record = await _end(self)
        return await self.plant.grant(record.grant_id) if record.grant_id else None


async def _end(story: Story) -> Held:
    async def announced() -> Held | None:
        record = await story.plant.record(story.request.approval_id)
        return record if record and record.announced else None

    record: Held = await until(announced)
    return record


def _check_people(record: Held) -> None:
    """Whoever approved was asked, was not the requester, and there were enough of them; counted by hand."""
    names = [reviewer.subject for reviewer in record.approved_by]
    assert len(names) == len(set(names))
    assert not {"agent", "owner", "eve"} & set(names)
    if record.resolution is not State.APPROVED:
        return
    approved = next(step for step in record.history if step.state is State.APPROVED)
    assert approved.at < record.request.terms.expires_at
    assert record.certificate
    if record.break_glass:
        assert ("sam" in names, record.reason, record.grant_id) == (True, "the shop is down", None)
    lead = {"liv"} if record.escalated else set()
    dba, security = set(names) & {"ann", "art", "ben"}, set(names) & {"ben", "cy"}
    met = {
        "one": bool(dba),
        "two": len(dba) >= 2,
        "any": len(dba) >= 2 or "ola" in names,
        "all": bool(dba | (set(names) & lead))
        and bool(security | (set(names) & lead))
        and len(dba | security | (set(names) & lead)) >= 2,
    }
    for rule_name in record.rules:
        assert met[rule_name] or (record.break_glass and rule_name in ("one", "any")), (rule_name, names)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all stories; the copies run while a story's step does."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.timeout(600 + 2 * EXAMPLES)
def test_no_order_of_events_breaks_an_approval(tmp_path: Path, runner: asyncio.Runner) -> None:
    stack = AsyncExitStack()
    plant = runner.run(Plant.build(tmp_path, stack))
    try:
        run_state_machine_as_test(
            lambda: Story(plant, runner),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # to shrink a story, it would be told hundreds of times on a real bus
                derandomize="COUNTERSIGN_MODEL_EXAMPLES" not in os.environ,
            ),
        )
    finally:
        runner.run(plant.stop())
        runner.run(stack.aclose())
