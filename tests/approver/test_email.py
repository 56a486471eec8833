"""Questions by mail, against a real SMTP server: who is mailed, what it says, its thread, and each mail once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.approvals import Notice
from schemas.base import utc_now
from schemas.events import ApprovalPreviewed, ApprovalRequested, ApprovalWithdrawn
from services.approver import once
from services.approver.email import letters
from services.approver.email.letters import Letter, compose
from services.approver.email.relay import MailTrouble
from services.approver.email.relay import Relay as Client
from services.approver.email.shown import duration, shown
from services.approver.email.turns import Turns
from services.approver.once import Busy, Delivery, Once
from services.approver.pending import Escalate, Expire
from services.approver.people import is_address
from services.approver.record import Held
from services.approver.record import asked as new_record
from services.runtime.settings import Settings, SettingsError
from services.runtime.settings.approvals import SmtpSettings
from tests.approver.builders import DBA, SECURITY, question
from tests.approver.conftest import PEOPLE, World, settings
from tests.approver.smtp import PASSWORD, Relay, html, link, relay, text
from tests.conftest import until

ALICE, BOB = "alice@example.com", "bob@example.com"
SENDER = "Countersign <countersign@gate.example>"


@pytest.fixture
async def smtp(tmp_path: Path) -> AsyncIterator[Relay]:
    async with relay(tmp_path) as running:
        yield running


def by_mail(smtp: Relay, *people: dict[str, Any], **more: Any) -> Settings:
    email = {"from": SENDER, "base_url": "http://127.0.0.1:9102", "smtp": smtp.settings(**more)}
    known = settings(email=email)
    if not people:
        return known
    identity = known.identity.model_validate({"people": [*PEOPLE, *people], "local": True})
    return known.model_copy(update={"identity": identity})


async def test_everybody_who_may_decide_gets_a_mail_with_a_link_of_their_own(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    asked = await world.ask(question())
    mails = [await smtp.boxes.wait(ALICE), await smtp.boxes.wait(BOB)]
    assert link(mails[0]) != link(mails[1])
    for mail in mails:
        assert mail["From"] == SENDER
        assert mail["Auto-Submitted"] == "auto-generated"
        assert "sql.delete on orders, asked by agent-7" in mail["Subject"]
        for words in (text(mail), html(mail)):
            for shown_fact in ("agent-7", "DELETE FROM orders WHERE id = 7", "writes-need-a-person", "env=prod"):
                assert shown_fact in words
            assert "the customer asked for it" in words
            assert asked.operation.digest in words
            assert "1 more of dba" in words
    assert smtp.boxes.logins
    assert {good for _, good in smtp.boxes.logins} == {True}


async def test_only_those_whom_the_rule_asks_and_never_the_requester(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    own = question(identity=question().identity.model_copy(update={"subject": "bob", "email": BOB}))
    await world.ask(own)
    await smtp.boxes.wait(ALICE)
    await world.ask(question(SECURITY))
    await smtp.boxes.wait(BOB)
    assert len(smtp.boxes.of(BOB)) == 1
    assert len(smtp.boxes.of(ALICE)) == 1


async def test_the_rules_further_addresses_get_the_mail_without_a_link(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    asked = question()
    await world.ask(asked.model_copy(update={"terms": asked.terms.model_copy(update={"email": ("log@example.com",)})}))
    copy = await smtp.boxes.wait("log@example.com")
    assert "DELETE FROM orders" in text(copy)
    assert "/approvals/link/" not in text(copy) + html(copy)


@pytest.mark.parametrize(
    ("how", "words"), [("approve", "Approved"), ("deny", "Denied"), ("withdraw", "Withdrawn"), ("expire", "Expired")]
)
async def test_how_it_ended_joins_the_thread(world: World, smtp: Relay, how: str, words: str) -> None:
    approver = await world.approver(by_mail(smtp))
    asked = await world.ask(question())
    first = await smtp.boxes.wait(ALICE)
    if how == "withdraw":
        event = ApprovalWithdrawn(
            at=utc_now(),
            ingress="ingress-1",
            session_id=asked.session_id,
            approval_id=asked.approval_id,
            operation_id=asked.operation_id,
            reason="the caller disconnected",
        )
        await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())
    elif how == "expire":
        approver.desk.clock = lambda: utc_now() + timedelta(hours=1)
        assert isinstance(await approver.desk.decide(asked.approval_id, Expire()), Held)
    else:
        token = world.token("bob", "dba")
        assert (await world.query(token, do=how, approval_id=asked.approval_id, reason="it is time")).status == 200
    second = await smtp.boxes.wait(ALICE, 2)
    assert words in text(second)
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert second["Message-ID"] != first["Message-ID"]
    assert second["Subject"] == f"Re: {first['Subject']}"
    assert "/approvals/link/" not in text(second) + html(second)
    if how in ("approve", "deny"):
        assert BOB in text(second)
        assert "it is time" in text(second)


async def test_two_copies_mail_everybody_once(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    await world.approver(by_mail(smtp))
    questions = [await world.ask(question(statement=f"DELETE FROM orders WHERE id = {n}")) for n in range(8)]
    await until(lambda: len(smtp.boxes.mails) >= 16)
    for asked in questions:
        await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    await until(lambda: len(smtp.boxes.mails) >= 32)
    identifiers = [mail["Message-ID"] for mail in smtp.boxes.mails]
    assert len(identifiers) == len(set(identifiers)) == 32


async def test_while_the_relay_is_away_questions_wait_in_order(world: World, smtp: Relay) -> None:
    await smtp.stop()
    await world.approver(by_mail(smtp))
    asked = [await world.ask(question(statement=f"DELETE FROM orders WHERE id = {n}")) for n in range(4)]
    reply = await until(lambda: _listed(world, 4))
    assert reply
    # One of them is settled meanwhile: nobody is asked about it any more.
    denied = await world.query(world.token("alice", "dba"), do="deny", approval_id=asked[1].approval_id)
    assert denied.status == 200
    await smtp.start()
    await until(lambda: len(smtp.boxes.of(BOB)) >= 3, 60)
    shown_ids = [text(mail).split("WHERE id = ")[1][0] for mail in smtp.boxes.of(BOB)]
    assert shown_ids == ["0", "2", "3"]


async def test_a_copy_that_stops_leaves_its_questions_to_the_next(world: World, smtp: Relay) -> None:
    await smtp.stop()
    first = await world.approver(by_mail(smtp))
    await world.ask(question())
    error = {"channel": "email", "error": "SMTPConnectError"}
    read = first.context.registry.get_sample_value
    await until(lambda: read("countersign_approval_channel_errors_total", error))
    assert read("countersign_approval_channel_up", {"channel": "email"}) == 0
    await world.stack.aclose()
    await smtp.start()
    second = await world.approver(by_mail(smtp))
    await smtp.boxes.wait(ALICE)
    assert len(smtp.boxes.of(ALICE)) == 1
    assert second.context.registry.get_sample_value("countersign_approval_channel_up", {"channel": "email"}) == 1


async def _listed(world: World, count: int) -> bool:
    return len((await world.query(world.token("alice", "dba"), do="list")).approvals) == count


async def test_trouble_with_one_address_holds_up_nobody_else(world: World, smtp: Relay) -> None:
    smtp.boxes.refuse = {ALICE: "450 4.2.1 try again later"}
    await world.approver(by_mail(smtp))
    await world.ask(question())
    await world.ask(question(statement="DELETE FROM customers"))
    await smtp.boxes.wait(BOB, 2)
    smtp.boxes.refuse = {}
    await smtp.boxes.wait(ALICE, 2)
    assert len(smtp.boxes.of(BOB)) == 2


async def test_an_address_that_is_refused_for_good_is_counted_and_left(world: World, smtp: Relay) -> None:
    smtp.boxes.refuse = {ALICE: "550 5.1.1 no such mailbox"}
    approver = await world.approver(by_mail(smtp))
    asked = await world.ask(question())
    await smtp.boxes.wait(BOB)
    registry = approver.context.registry
    errors = {"channel": "email", "error": "550"}
    await until(lambda: registry.get_sample_value("countersign_approval_channel_errors_total", errors) == 1)
    await world.query(world.token("bob", "dba"), do="approve", approval_id=asked.approval_id)
    await smtp.boxes.wait(BOB, 2)
    assert smtp.boxes.of(ALICE) == []


async def test_a_relay_without_starttls_or_with_another_certificate_gets_nothing(smtp: Relay) -> None:
    smtp.offers_tls = False
    with pytest.raises(MailTrouble):
        await _one_line(Client(SmtpSettings.model_validate(smtp.settings())))
    smtp.offers_tls = True
    with pytest.raises(MailTrouble) as caught:
        await _one_line(Client(SmtpSettings.model_validate(smtp.settings(ca=None))))
    assert caught.value.at_least > 0
    with pytest.raises(MailTrouble) as caught:
        await _one_line(Client(SmtpSettings.model_validate(smtp.settings(password="wrong"))))
    assert caught.value.code == "535"
    assert PASSWORD not in str(caught.value)
    assert smtp.boxes.mails == []


async def _one_line(client: Client) -> None:
    async with client.line():
        pass


async def test_a_mail_that_may_have_been_taken_comes_again_as_the_same_mail(world: World, smtp: Relay) -> None:
    smtp.boxes.drop_after_taking = 1
    await world.approver(by_mail(smtp))
    await world.ask(question(SECURITY))
    again = await smtp.boxes.wait(BOB, 2)
    first, *_ = smtp.boxes.of(BOB)
    assert first["Message-ID"] == again["Message-ID"]  # mailboxes that look at it show one


async def test_the_question_waits_for_the_blast_radius(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    asked = question()
    asked = asked.model_copy(update={"terms": asked.terms.model_copy(update={"preview": "count"})})
    await world.ask(asked)
    event = ApprovalPreviewed(
        at=utc_now(),
        ingress="ingress-1",
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        estimated_rows=1240,
        counted_rows=1238,
    )
    await world.ingress.jetstream().publish(subjects.of(event), event.model_dump_json().encode())
    mail = await smtp.boxes.wait(ALICE)
    assert "the planner expects 1,240 rows; counted: 1,238 rows" in text(mail)


async def test_an_escalated_question_reaches_the_others_and_nobody_twice(world: World, smtp: Relay) -> None:
    carol = {"email": "carol@example.com", "subject": "carol", "groups": ["oncall"]}
    approver = await world.approver(by_mail(smtp, carol))
    escalating = {"after": 60.0, "to": ("oncall",)}
    asked = await world.ask(question(DBA.model_validate(DBA.model_dump() | {"escalation": escalating})))
    await smtp.boxes.wait(BOB)
    approver.desk.clock = lambda: utc_now() + timedelta(seconds=61)
    record = await approver.desk.decide(asked.approval_id, Escalate())
    assert isinstance(record, Held)
    [channel] = approver.desk.channels
    for _ in range(2):
        await channel.tell(record, record.notices[-1])
    mail = await smtp.boxes.wait("carol@example.com")
    assert link(mail)
    assert "brought to you" in text(mail)
    assert [len(smtp.boxes.of(each)) for each in (ALICE, BOB, "carol@example.com")] == [1, 1, 1]


async def test_a_reminder_goes_to_those_who_have_not_answered(world: World, smtp: Relay) -> None:
    approver = await world.approver(by_mail(smtp))
    asked = await world.ask(question(DBA.model_copy(update={"quorum": 2})))
    first = await smtp.boxes.wait(BOB)
    await smtp.boxes.wait(ALICE)
    await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    record = await approver.desk.approvals.load(asked.approval_id)
    assert record
    [channel] = approver.desk.channels
    for _ in range(2):  # as after a crash between telling and noting
        await channel.tell(record, Notice(kind="reminder", at=asked.at + timedelta(seconds=450), groups=("dba",)))
    mail = await smtp.boxes.wait(BOB, 2)
    assert mail["In-Reply-To"] == first["Message-ID"]
    assert "time runs out" in text(mail)
    assert "So far: alice@example.com" in text(mail)
    assert link(mail) == link(first)
    assert (len(smtp.boxes.of(ALICE)), len(smtp.boxes.of(BOB))) == (1, 2)


async def test_broken_glass_is_told_loudly_to_everybody_concerned(world: World, smtp: Relay) -> None:
    await world.approver(by_mail(smtp))
    asked = await world.ask(question(DBA.model_copy(update={"quorum": 2, "break_glass": ("sre",)})))
    first = await smtp.boxes.wait(ALICE)
    token = world.token("eve", "sre")
    answer = await world.query(token, do="break_glass", approval_id=asked.approval_id, reason="the shop is down")
    assert answer.status == 200
    mail = await smtp.boxes.wait(ALICE, 2)
    assert mail["Importance"] == "high"
    assert mail["Subject"].strip().startswith("APPROVED IN AN EMERGENCY")
    assert mail["In-Reply-To"] == first["Message-ID"]
    for words in ("eve@example.com", "the shop is down"):
        assert words in text(mail)
    await smtp.boxes.wait(BOB, 2)


async def test_an_act_is_done_once_and_a_dead_copys_claim_lapses(world: World) -> None:
    client = await world.bus.connect("approver")
    bucket = await client.jetstream().key_value(subjects.DELIVERIES_BUCKET)
    now = utc_now()
    mine, later = Once(bucket, lambda: now), Once(bucket, lambda: now + timedelta(seconds=once.CLAIM + 1))
    done: list[str] = []

    async def act() -> str:
        done.append("act")
        return "sent"

    async def fail() -> str:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await mine.perform("email.a.b", fail)
    assert await mine.perform("email.a.b", act) == await mine.perform("email.a.b", act) == "sent"
    assert done == ["act"]
    await bucket.put("email.c.d", Delivery(claimed_at=now).model_dump_json().encode())  # a copy died here
    with pytest.raises(Busy):
        await mine.perform("email.c.d", act)
    assert await later.perform("email.c.d", act) == "sent"
    assert done == ["act", "act"]
    both = await asyncio.gather(*(mine.perform("email.e.f", act) for _ in range(5)), return_exceptions=True)
    assert done == ["act"] * 3
    assert {str(one) for one in both if not isinstance(one, Busy)} == {"sent"}


async def test_turns_go_by_the_stream_whoever_came_first() -> None:
    turns, order, queued = Turns(), list[int](), asyncio.Event()

    async def one(sequence: int) -> None:
        async with turns.of(sequence):
            order.append(sequence)

    async def holder() -> None:
        async with turns.of(5):
            await queued.wait()
            await turns.give_way(5)
            order.append(5)

    first = asyncio.create_task(holder())
    await asyncio.sleep(0)
    others = [asyncio.create_task(one(sequence)) for sequence in (9, 2, 7, 3)]
    await asyncio.sleep(0)
    others[2].cancel()  # as a copy that stops
    queued.set()
    await asyncio.gather(first, *others, return_exceptions=True)
    assert order == [2, 3, 5, 9]
    await asyncio.wait_for(one(1), 60)


def mail_of(request: ApprovalRequested, to: str = ALICE) -> tuple[str, str, str]:
    """Subject, text and HTML."""
    letter = Letter(to, shown(new_record(request), utc_now(), letters.STATEMENT), "Look.", "question", "http://x/y")
    mail = compose(letter, SENDER, utc_now())
    return str(mail["Subject"]), text(mail), html(mail)


@given(statement=st.text(max_size=300), name=st.text(min_size=1, max_size=60), reason=st.text(max_size=100))
def test_strangers_text_is_inert_wherever_it_stands(statement: str, name: str, reason: str) -> None:
    asked = question(statement=f"{statement}<img src=x>\r\nBcc: eve@example.com\u202e", resources=(name,))
    asked = asked.model_copy(
        update={
            "identity": asked.identity.model_copy(update={"subject": name}),
            "asked": asked.asked.model_copy(update={"reason": reason}),
        }
    )
    subject, plain, marked_up = mail_of(asked)
    assert "\n" not in subject
    assert "<img" not in marked_up
    for words in (subject, plain, marked_up):
        assert not set(words) & {"\u202e", "\u200b", "\x00", "\x1b"}
    assert "\nBcc:" not in plain


def test_a_long_statement_shows_its_head_and_its_tail_and_says_so() -> None:
    _, plain, marked_up = mail_of(question(statement="BEGIN" + "x" * 50_000 + "END"))
    for words in (plain, marked_up):
        assert "BEGIN" in words
        assert "END" in words
        assert "42,008 of 50,008 characters are left out here" in words


def test_what_is_no_address_is_none() -> None:
    for good in ("alice@example.com", "o'brien+x@example.co.uk", "a@xn--exmple-cua.de"):
        assert is_address(good), good
    for bad in (
        "alice",
        "a@b, c@d",
        "a@b\r\nBcc: x@y",
        "Alice <a@b.c>",
        "@b",
        "a@",
        "",
        "a b@c",
        "jörg@example.com",
        "a@exämple.de",
    ):
        assert not is_address(bad), bad


def test_durations_are_readable() -> None:
    assert [duration(each) for each in (0, 45, 60, 150, 900, 3600, 5400)] == [
        "0 s",
        "45 s",
        "1 min",
        "2 min 30 s",
        "15 min",
        "1 h",
        "1 h 30 min",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://approver.example.com"},
        {"from": "nobody"},
        {"from": "a@b.example\nBcc: c@d.example"},
        {"smtp": {"host": "mail.example.com", "tls": "none"}},
        {"smtp": {"host": "mail.example.com", "user": "u"}},
    ],
)
def test_settings_that_would_leak_links_are_refused(wrong: dict[str, Any]) -> None:
    good = {"from": SENDER, "base_url": "https://gate.example", "smtp": {"host": "mail.example.com"}}
    settings(email=good)
    with pytest.raises(ValueError, match=r"approvals\.email"):
        settings(email=good | wrong)


async def test_a_person_without_a_mailbox_stops_the_start(world: World, smtp: Relay) -> None:
    with pytest.raises(SettingsError, match=r"identity\.people: 'not an address' is no"):
        await world.approver(by_mail(smtp, {"email": "not an address"}))
