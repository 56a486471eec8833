"""Webhooks against a real receiver: what is posted, how it is signed, when it comes again, and what may come back."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects
from schemas.base import new_id, utc_now
from schemas.events import ApprovalRequested, ApprovalUsed, Outcome
from services.approver.__main__ import Approver
from services.approver.pending import Spend, move
from services.approver.webhook import payload, sender, signature
from services.approver.webhook.callback import PATH
from services.approver.webhook.events import AT_ONCE
from services.approver.webhook.sender import WebhookTrouble, seconds
from services.approver.webhook.signature import NotSigned
from services.runtime.settings import SettingsError
from services.runtime.settings.approvals import WebhookSettings
from tests.approver.builders import DBA, SECURITY, question
from tests.approver.conftest import World, settings
from tests.conftest import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQg"
KEY = signature.secret(SECRET)
SCHEMA = Path(__file__).parents[2] / "docs" / "webhook.schema.json"


@dataclass
class Heard:
    """One POST as it arrived."""

    headers: Any
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def kind(self) -> str:
        return str(self.message["type"])


@dataclass
class Receiver:
    """Somebody's endpoint; `answers` are given instead of 204, in order."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    taken: list[Heard] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    elsewhere: int = 0

    async def post(self, request: web.Request) -> web.Response:
        heard = Heard(request.headers, await request.read())
        self.heard.append(heard)
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers)
        self.taken.append(heard)
        return web.Response(status=204)

    async def trap(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    async def wait(self, count: int = 1) -> Heard:
        """The last of at least `count` that were taken."""
        await until(lambda: len(self.taken) >= count)
        return self.taken[-1]

    def config(self, **more: Any) -> dict[str, Any]:
        return {"url": self.url, "secret": SECRET, "decides": "people"} | more


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.post)
    app.router.add_route("*", "/elsewhere", receiver.trap)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook" if context is None else f"https://localhost:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def start(world: World, **webhooks: Any) -> Approver:
    return await world.approver(settings(webhooks=webhooks))


def decided(asked: ApprovalRequested, **more: Any) -> dict[str, Any]:
    """A callback's body."""
    return {
        "type": "approval.decision",
        "approval_id": asked.approval_id,
        "digest": asked.operation.digest,
        "decision": "approve",
        "reviewer": {"email": "alice@example.com"},
    } | more


async def call(
    approver: Approver,
    body: dict[str, Any] | bytes,
    *,
    key: bytes = KEY,
    webhook_id: str | None = None,
    at: float | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Post a callback, signed."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    webhook_id = webhook_id or f"cb_{new_id()}"
    signed = signature.headers([key], webhook_id, int(time.time() if at is None else at), raw)
    url = f"http://{approver.context.listening['approver']}{PATH}"
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=raw, headers=signed | (headers or {})) as answer,
    ):
        return answer.status, await answer.json()


async def state(world: World, asked: ApprovalRequested) -> str:
    record = await world.record(asked.approval_id)
    assert record
    return str(record.state)


async def test_a_question_and_its_end_are_posted_signed_and_whole(world: World, receiver: Receiver) -> None:
    await start(world, pager=receiver.config(previous_secret=OLD_SECRET))
    asked = await world.ask(question(statement="DELETE FROM orders WHERE id = 7 -- é\u202e"))
    first = await receiver.wait()
    for key in (KEY, signature.secret(OLD_SECRET)):  # whichever of the two the receiver has
        assert signature.verify([key], first.headers, first.body, time.time()).webhook_id.startswith("msg_")
    assert first.headers["Content-Type"] == "application/json"
    posted = payload.Posted.model_validate_json(first.body)
    assert (posted.type, posted.version) == ("approval.requested", 1)
    data = posted.data
    assert data.approval_id == asked.approval_id
    assert data.statement == asked.operation.statement
    assert data.digest == asked.operation.digest
    assert (data.subject, data.rules, data.tags) == ("agent-7", ("writes-need-a-person",), {"env": "prod"})
    assert "1 more of dba" in data.detail
    await world.query(world.token("alice", "dba"), do="deny", approval_id=asked.approval_id, reason="no")
    second = await receiver.wait(2)
    assert second.kind == "approval.resolved"
    ended = payload.Posted.model_validate_json(second.body).data
    assert (ended.state, ended.decided_by, ended.reason) == ("denied", "alice@example.com", "no")
    assert first.headers["webhook-id"] != second.headers["webhook-id"]


async def test_a_callback_decides_as_the_mapped_person(world: World, receiver: Receiver) -> None:
    approver = await start(world, pager=receiver.config())
    asked = await world.ask(question())
    await receiver.wait()
    status, answer = await call(approver, decided(asked, reason="the pager said yes"))
    assert (status, answer["state"]) == (200, "approved")
    record = await world.until_state(asked.approval_id, "approved")
    assert (record.approved_by[0].label, record.approved_by[0].via) == ("alice@example.com", "webhook")
    assert (await until(lambda: world.verdicts))[0].verdict.approved_by == ("alice@example.com",)
    assert (await receiver.wait(2)).kind == "approval.resolved"


async def test_a_callback_may_carry_the_reviewers_own_token(world: World, receiver: Receiver) -> None:
    approver = await start(world, pager=receiver.config(decides="token"))
    asked = await world.ask(question())
    await receiver.wait()
    status, answer = await call(approver, decided(asked))
    assert status == 403
    assert "not name reviewers" in answer["detail"]
    for token, wanted in (
        ("rubbish", 403),
        (world.token("mallory", "interns"), 404),
        (world.token("dora", "dba", connector="elsewhere"), 404),
        (world.token("dora", "dba"), 200),
    ):
        status, answer = await call(approver, decided(asked, reviewer={"token": token}))
        assert status == wanted, answer
        assert token not in str(answer)
    record = await world.until_state(asked.approval_id, "approved")
    assert record.approved_by[0].label == "dora@example.com"


async def test_what_a_callback_may_not_do(world: World, receiver: Receiver) -> None:
    approver = await start(
        world,
        pager=receiver.config(groups=["dba"]),
        log=receiver.config(secret=OLD_SECRET, decides="nothing"),
    )
    security, glass = question(SECURITY), question(DBA.model_copy(update={"break_glass": ("dba",), "quorum": 2}))
    own = question(identity=question().identity.model_copy(update={"email": "alice@example.com"}))
    for asked in (security, glass, own):
        await world.ask(asked)
        await world.until_state(asked.approval_id, "requested")
    named_bob = {"reviewer": {"email": "BOB@example.com"}}
    for status, words, body in (
        (403, "Only members", decided(security, **named_bob)),  # bob is in security, but it may speak for dba only
        (403, "own operation", decided(own)),
        (403, "own token", decided(glass, decision="break_glass", reason="fire")),
        (403, "not among the people", decided(glass, reviewer={"email": "eve@example.com"})),
        (409, "digest", decided(glass, digest="cd" * 32)),
        (404, "no such approval", decided(glass, approval_id=new_id())),
        (422, "grant", decided(glass, grant_seconds=7200)),
        (400, "by email or by token", decided(glass, reviewer={})),
        (400, "by email or by token", decided(glass, reviewer={"email": "a@b", "token": "x"})),
        (400, "decission", decided(glass, decission="deny")),
        (400, "decision", decided(glass, decision="approved")),
        (400, "type", decided(glass, type="approval.requested")),
    ):
        given_status, answer = await call(approver, body)
        assert (given_status, words in answer["detail"]) == (status, True), answer
    assert (await call(approver, b"not json"))[0] == 400
    assert (await call(approver, b" " * 70_000))[0] == 413
    status, answer = await call(approver, decided(glass), key=signature.secret(OLD_SECRET))
    assert status == 403
    assert "callbacks do nothing" in answer["detail"]
    assert {await state(world, asked) for asked in (security, glass, own)} == {"requested"}
    status, _ = await call(approver, decided(glass, decision="deny", reason="no", **named_bob))
    assert status == 200


async def test_what_is_not_signed_now_decides_nothing(world: World, receiver: Receiver) -> None:
    approver = await start(world, pager=receiver.config())
    asked = await world.ask(question())
    ours = await receiver.wait()
    body = decided(asked)
    for bad in (
        {"key": b"x" * 32},
        {"at": time.time() - signature.TOLERANCE - 60},
        {"at": time.time() + signature.TOLERANCE + 60},
        {"headers": {"webhook-id": "another"}},
        {"headers": {"webhook-timestamp": str(int(time.time()) - 1)}},
        {"headers": {"webhook-signature": "v1,AAAA v1, v2,x"}},
        {"headers": {"webhook-id": "a.b"}},
    ):
        status, answer = await call(approver, body, **bad)  # type: ignore[arg-type]
        assert status == 401, (bad, answer)
    # Our own POST, sent back to us: signed with the right secret, and no decision.
    url = f"http://{approver.context.listening['approver']}{PATH}"
    async with aiohttp.ClientSession() as client, client.post(url, data=ours.body, headers=ours.headers) as answer:
        assert answer.status == 400
    assert await state(world, asked) == "requested"


async def test_a_repeated_callback_gets_the_same_answer_and_acts_once(world: World, receiver: Receiver) -> None:
    first, second = await start(world, pager=receiver.config()), await start(world, pager=receiver.config())
    asked = await world.ask(question(DBA.model_copy(update={"quorum": 2})))
    await receiver.wait()
    body = decided(asked)
    answers = [await call(approver, body, webhook_id="cb_1") for approver in (first, second, first)]
    assert answers == [(200, answers[0][1])] * 3
    assert answers[0][1]["state"] == "partly_approved"
    status, answer = await call(second, decided(asked, decision="deny"), webhook_id="cb_1")
    assert status == 409
    assert "another body" in answer["detail"]
    at_once = await asyncio.gather(
        *(
            call(copy, decided(asked, reviewer={"email": "bob@example.com"}), webhook_id="cb_2")
            for copy in (first, second)
        )
    )
    assert {status for status, _ in at_once} <= {200, 503}
    record = await world.until_state(asked.approval_id, "approved")
    assert [reviewer.label for reviewer in record.approved_by] == ["alice@example.com", "bob@example.com"]


async def test_a_receiver_in_trouble_gets_it_again_with_the_same_id(world: World, receiver: Receiver) -> None:
    receiver.answers = [(429, {"Retry-After": "2"})]
    approver = await start(world, pager=receiver.config())
    await world.ask(question())
    taken = await receiver.wait()
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert len(receiver.heard) == 2
    waited = int(taken.headers["webhook-timestamp"]) - int(receiver.heard[0].headers["webhook-timestamp"])
    assert waited >= 2  # our own first delay is one second
    error = {"channel": "webhook.pager", "error": "429"}
    assert approver.context.registry.get_sample_value("countersign_approval_channel_errors_total", error) == 1


async def test_one_receiver_in_trouble_neither_delays_nor_repeats_the_others(world: World, receiver: Receiver) -> None:
    """More questions than are posted at once; the one that refuses them all is left alone between two tries."""
    questions = AT_ONCE + 8
    async with receiving() as other:
        receiver.answers = [(503, {})] * 1_000_000
        approver = await start(world, pager=receiver.config(), chat=other.config(secret=OLD_SECRET))
        for _ in range(questions):
            await world.ask(question(wait=0))
        await until(lambda: len(other.taken) == questions)
        assert len(other.heard) == questions
    resting = {"channel": "webhook.pager", "error": "resting"}
    await until(
        lambda: approver.context.registry.get_sample_value("countersign_approval_channel_errors_total", resting)
    )


async def test_a_receiver_that_rests_is_tried_with_one_post_and_then_with_all(receiver: Receiver) -> None:
    now = [1000.0]
    kept = sender.receiver("pager", WebhookSettings.model_validate(receiver.config()))
    kept.monotonic = lambda: now[0]
    receiver.answers = [(503, {})] * (sender.FAILURES + 1)

    async def code(number: int) -> str:
        try:
            await kept.post(f"msg_{number}", b"{}")
        except WebhookTrouble as trouble:
            return trouble.code
        return "taken"

    assert [await code(number) for number in range(5)] == ["503", "503", "503", "resting", "resting"]
    now[0] += sender.FIRST_REST
    assert sorted(await asyncio.gather(*map(code, range(3)))) == ["503", "resting", "resting"]
    now[0] += sender.FIRST_REST
    assert await code(1) == "resting", "twice as long as the first time"
    now[0] += sender.FIRST_REST
    assert sorted(await asyncio.gather(*map(code, range(3)))) == ["resting", "resting", "taken"]
    assert await asyncio.gather(*map(code, range(3))) == ["taken"] * 3


async def test_no_redirect_is_followed_and_gone_is_gone(world: World, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    await start(world, pager=receiver.config())
    asked = await world.ask(question())
    await until(lambda: receiver.heard)
    receiver.answers = [(302, {"Location": "/elsewhere"})]
    await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    await until(lambda: len(receiver.heard) >= 2)
    assert [heard.kind for heard in receiver.heard] == ["approval.requested", "approval.resolved"]
    assert receiver.elsewhere == 0
    assert receiver.taken == []


async def test_two_copies_post_each_event_once(world: World, receiver: Receiver) -> None:
    for _ in range(2):
        await start(world, pager=receiver.config())
    questions = [await world.ask(question(statement=f"DELETE FROM orders WHERE id = {n}")) for n in range(10)]
    await receiver.wait(10)
    for asked in questions:
        await world.query(world.token("alice", "dba"), do="approve", approval_id=asked.approval_id)
    await receiver.wait(20)
    identifiers = [heard.headers["webhook-id"] for heard in receiver.heard]
    assert len(identifiers) == len(set(identifiers)) == 20


async def test_a_rule_names_its_webhook(world: World, receiver: Receiver) -> None:
    async with receiving() as other:
        await start(world, pager=receiver.config(), chat=other.config(secret=OLD_SECRET))
        asked = question()
        await world.ask(asked.model_copy(update={"terms": asked.terms.model_copy(update={"webhook": "chat"})}))
        await other.wait()
        unknown = question()
        await world.ask(unknown.model_copy(update={"terms": unknown.terms.model_copy(update={"webhook": "nobody"})}))
        # A name that leads nowhere asks everybody rather than nobody.
        assert unknown.approval_id in str((await receiver.wait()).message)
        await other.wait(2)
        assert len(receiver.heard) == 1


async def test_broken_glass_is_posted(world: World, receiver: Receiver) -> None:
    await start(world, pager=receiver.config())
    asked = await world.ask(question(DBA.model_copy(update={"quorum": 2, "break_glass": ("sre",)})))
    await receiver.wait()
    await world.query(world.token("eve", "sre"), do="break_glass", approval_id=asked.approval_id, reason="fire")
    await receiver.wait(3)
    assert {heard.kind for heard in receiver.taken} == {
        "approval.requested",
        "approval.break_glass",
        "approval.resolved",
    }
    loud = next(heard for heard in receiver.taken if heard.kind == "approval.break_glass")
    assert payload.Posted.model_validate_json(loud.body).data.break_glass


async def test_how_the_operation_ended_is_posted(world: World, receiver: Receiver) -> None:
    approver = await start(world, pager=receiver.config())
    asked = await world.ask(question())
    await receiver.wait()
    await call(approver, decided(asked))
    spend = Spend(asked.operation_id, asked.ingress)  # as ingress does
    await approver.desk.approvals.step(asked.approval_id, lambda record: move(record, spend, utc_now()))
    used = ApprovalUsed(
        at=utc_now(),
        ingress=asked.ingress,
        session_id=asked.session_id,
        approval_id=asked.approval_id,
        operation_id=asked.operation_id,
        outcome=Outcome.FORWARDED,
        status="DELETE 1238",
        rows=1238,
        total_ms=41.5,
    )
    await world.ingress.jetstream().publish(subjects.of(used), used.model_dump_json().encode())
    await receiver.wait(3)
    posted = next(
        payload.Posted.model_validate_json(heard.body) for heard in receiver.taken if heard.kind == "approval.used"
    )
    assert posted.data.use
    assert (posted.data.use.rows, posted.data.use.status) == (1238, "DELETE 1238")


async def test_only_a_receiver_with_the_right_certificate_gets_anything(world: World, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    contexts = []
    for issuer in (authority, stranger):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issuer.issue_cert("localhost").configure_cert(context)
        contexts.append(context)
    async with receiving(contexts[0]) as good, receiving(contexts[1]) as bad:
        approver = await start(
            world,
            good=good.config(ca=str(tmp_path / "ca.pem")),
            bad=bad.config(ca=str(tmp_path / "ca.pem"), secret=OLD_SECRET),
        )
        await world.ask(question())
        await good.wait()
        error = {"channel": "webhook.bad", "error": "certificate"}
        read = approver.context.registry.get_sample_value
        await until(lambda: read("countersign_approval_channel_errors_total", error))
        assert bad.heard == []


@pytest.mark.parametrize(
    ("webhooks", "words"),
    [
        ({"a": {"url": "https://a.example/x", "secret": "whsec_short"}}, "whsec_"),
        ({"a": {"url": "https://a.example/x", "secret": "whsec_c2hvcnQ="}}, "5 bytes"),
        (
            {
                "a": {"url": "https://a.example/", "secret": SECRET},
                "b": {"url": "https://b.example/", "secret": SECRET},
            },
            "the same secret",
        ),
    ],
)
async def test_secrets_that_protect_nothing_stop_the_start(world: World, webhooks: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        await start(world, **webhooks)
    assert "c2hvcnQ" not in str(caught.value)


def test_plain_http_is_for_this_machine_only() -> None:
    for url in (
        "http://hooks.example.com/x",
        "ftp://a.example/",
        "hooks",
        "https://user:pw@a.example/",
        "http://10.0.0.1/",
    ):
        with pytest.raises(ValueError, match="webhooks"):
            settings(webhooks={"a": {"url": url, "secret": SECRET}})


def test_the_signature_is_the_published_one() -> None:
    """The example that the reference libraries share."""
    made = signature.headers([KEY], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.binary(max_size=200), other=st.binary(max_size=200), skew=st.integers(-1000, 1000))
def test_only_the_signed_bytes_within_the_window_are_taken(body: bytes, other: bytes, skew: int) -> None:
    now = 1_800_000_000
    made = signature.headers([KEY], "id_1", now + skew, body)
    if abs(skew) <= signature.TOLERANCE:
        assert signature.verify([b"x" * 32, KEY], made, body, now).body == body
    else:
        with pytest.raises(NotSigned):
            signature.verify([KEY], made, body, now)
    if other != body:
        with pytest.raises(NotSigned):
            signature.verify([KEY], made, other, now + skew)


def test_headers_that_are_no_text_are_refused() -> None:
    made = signature.headers([KEY], "id_1", 1_800_000_000, b"{}")
    for name in made:
        with pytest.raises(NotSigned):
            signature.verify([KEY], made | {name: "v1,\udcff"}, b"{}", 1_800_000_000)
    with pytest.raises(NotSigned):
        signature.verify([KEY], {}, b"{}", 1_800_000_000)


def test_retry_after_in_both_its_forms() -> None:
    now = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
    assert seconds("120", now) == 120
    assert seconds("Sat, 21 Nov 2026 07:01:00 GMT", now) == 60
    assert seconds("Sat, 21 Nov 2026 06:00:00 GMT", now) == 0
    assert [seconds(bad, now) for bad in ("", "soon", "-5", "1e9", "٣")] == [0] * 5


def test_the_schema_is_what_the_code_says() -> None:
    """Refresh it: `python -m services.approver.webhook.payload > docs/webhook.schema.json`."""
    assert json.loads(SCHEMA.read_text()) == payload.schema()
