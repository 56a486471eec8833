"""The page that a mailed link opens, in a real browser and against tampering: it decides once, and only by its form."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page

from schemas.base import utc_now
from schemas.events import ApprovalRequested
from services.approver.__main__ import Approver
from services.approver.email import links
from services.approver.email.form import FormRejected, decision
from services.approver.email.page import COOKIE, PATH
from services.approver.pending import Approve, BreakGlass, Deny
from services.runtime.certificates import CertificateRejected, verify
from tests.approver.builders import DBA, SECURITY, person, question
from tests.approver.conftest import World
from tests.approver.smtp import Relay, link, relay
from tests.approver.test_email import by_mail
from tests.browser import Watched, browser, watched  # noqa: F401 - a fixture
from tests.conftest import until

ALICE = "alice@example.com"
BASE = "http://127.0.0.1:9102"
HOSTILE = (
    "DELETE FROM orders WHERE note = '</pre><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>"
    "\u202e\u200b' -- <form action=https://evil.example><button>Approve once</button>"
)


@dataclass
class Gate:
    """An approver that mails, and the links to it."""

    world: World
    approver: Approver
    smtp: Relay

    def at(self, approver: Approver | None = None) -> str:
        return f"http://{(approver or self.approver).context.listening['approver']}"

    async def mailed(self, request: ApprovalRequested, address: str = ALICE) -> str:
        """The link that this person's mailbox gets."""
        before = len(self.smtp.boxes.of(address))
        await self.world.ask(request)
        return link(await self.smtp.boxes.wait(address, before + 1)).replace(BASE, self.at())

    def signed(self, request: ApprovalRequested, address: str = ALICE) -> str:
        key = self.approver.desk.key
        return f"{self.at()}{PATH}{links.sign(request.approval_id, address, request.terms.expires_at, key)}"

    async def state(self, request: ApprovalRequested) -> str:
        record = await self.world.record(request.approval_id)
        assert record
        return str(record.state)


@pytest.fixture
async def gate(world: World, tmp_path: Path) -> AsyncIterator[Gate]:
    async with relay(tmp_path) as smtp:
        gate = Gate(world, await world.approver(by_mail(smtp)), smtp)
        yield gate
        await gate.world.stack.aclose()  # approvers before their relay


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


def clean(seen: Watched, origin: str) -> None:
    """Nothing of a stranger ran, nothing was blocked, nothing was asked of anybody else."""
    assert seen.ran == []
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith(origin)] == []


async def test_a_click_decides_and_only_a_click(gate: Gate, browser: Browser) -> None:  # noqa: F811
    asked = question(statement=HOSTILE)
    url = await gate.mailed(asked)
    seen, stale = await watched(browser), await watched(browser)
    await stale.page.goto(url)
    await seen.page.goto(url)
    assert await gate.state(asked) == "requested"  # opened twice, decided never
    body = await seen.page.inner_text("main")
    for words in (
        "You decide as alice@example.com",
        "agent-7",
        "writes-need-a-person",
        "⟨U+202E⟩",
        "env=prod",
        "<script>",
    ):
        assert words in body
    assert await seen.page.locator("main script, main img, main form").count() == 1
    await seen.page.get_by_label("Reason").fill("go ahead")
    await press(seen.page, "Approve once")
    await seen.page.get_by_role("heading", name="How it ended").wait_for()
    assert "Approved" in await seen.page.inner_text("h1")
    assert await seen.page.get_by_role("button").count() == 0
    record = await gate.world.until_state(asked.approval_id, "approved")
    assert (record.approved_by[0].label, record.approved_by[0].via, record.reason) == (ALICE, "email", "go ahead")
    await press(stale.page, "Deny")
    assert "approved by alice@example.com before" in await stale.page.inner_text("[role=status]")
    assert await gate.state(asked) == "approved"
    for one in (seen, stale):
        assert one.ran == []
        assert [url for url in one.requests if not url.startswith(gate.at())] == []
    assert seen.console == []
    verdicts: list[Any] = await until(lambda: gate.world.verdicts)
    assert [verdict.verdict.approved_by for verdict in verdicts] == [(ALICE,)]


async def test_it_works_without_scripts_and_on_a_telephone(gate: Gate, browser: Browser) -> None:  # noqa: F811
    asked = question()
    seen = await watched(browser, scripts=False, width=360, height=740)
    await seen.page.goto(await gate.mailed(asked))
    assert await seen.page.locator("html").get_attribute("lang") == "en"
    await seen.page.get_by_label("Reason").fill("not on a Friday")
    await press(seen.page, "Deny")
    await seen.page.get_by_role("heading", name="How it ended").wait_for()
    assert "not on a Friday" in await seen.page.inner_text("main")
    assert (await gate.world.until_state(asked.approval_id, "denied")).decided_by == ALICE
    clean(seen, gate.at())


async def test_a_grant_says_its_scope_and_is_given(gate: Gate, browser: Browser) -> None:  # noqa: F811
    asked = question()
    seen = await watched(browser)
    await seen.page.goto(await gate.mailed(asked))
    button = seen.page.get_by_role("button", name="Approve for 15 min")
    described = await button.get_attribute("aria-describedby")
    assert "whatever the rule writes-need-a-person asks about" in await seen.page.inner_text(f"#{described}")
    await button.click()
    await seen.page.get_by_role("heading", name="How it ended").wait_for()
    record = await gate.world.until_state(asked.approval_id, "approved")
    assert record.grant_id
    assert record.grant_seconds == 900
    clean(seen, gate.at())


async def test_breaking_glass_needs_words(gate: Gate, browser: Browser) -> None:  # noqa: F811
    asked = question(DBA.model_copy(update={"quorum": 2, "break_glass": ("dba",)}))
    seen = await watched(browser)
    await seen.page.goto(await gate.mailed(asked))
    await seen.page.get_by_text("Emergency: let it through alone").click()
    await press(seen.page, "Break glass")  # the browser itself asks for the reason
    assert await gate.state(asked) == "requested"
    await seen.page.get_by_label("What is the emergency?").fill("the shop is down")
    await press(seen.page, "Break glass")
    await seen.page.get_by_role("heading", name="How it ended").wait_for()
    record = await gate.world.until_state(asked.approval_id, "approved")
    assert record.break_glass
    assert record.reason == "the shop is down"
    clean(seen, gate.at())


async def test_scanners_and_prefetch_decide_nothing_and_the_page_keeps_to_itself(gate: Gate) -> None:
    asked = question()
    url = await gate.mailed(asked)
    async with aiohttp.ClientSession() as scanner:
        for ask in (scanner.get, scanner.head, scanner.get):
            async with ask(url, headers={"Sec-Purpose": "prefetch"}) as answer:
                assert answer.status == 200
                headers = answer.headers
        async with scanner.put(url) as answer:
            assert answer.status == 405
    assert await gate.state(asked) == "requested"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    for part in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "unsafe" not in policy


async def test_bytes_that_are_no_text_decide_nothing(gate: Gate) -> None:
    asked = question()
    url = await gate.mailed(asked)
    listening = gate.approver.context.listening["approver"]
    reader, writer = await asyncio.open_connection(listening.host, listening.port)
    form = b"decision=approve&form=%FF" + b"x" * 42
    head = f"POST {url.removeprefix(gate.at())} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Content-Length: {len(form)}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(head.encode() + f"Cookie: {COOKIE}=".encode() + b"\xff" * 43 + b"\r\n\r\n" + form)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert await gate.state(asked) == "requested"


async def _form(client: aiohttp.ClientSession, url: str) -> str:
    """The form's own value, from the page."""
    async with client.get(url) as answer:
        return (await answer.text()).split('name="form" value="')[1].split('"')[0]


def _jar() -> aiohttp.CookieJar:
    return aiohttp.CookieJar(unsafe=True)  # addresses without a name


async def test_a_form_from_anywhere_else_decides_nothing(gate: Gate) -> None:
    asked = question()
    url = await gate.mailed(asked)
    async with aiohttp.ClientSession(cookie_jar=_jar()) as client:
        nonce = await _form(client, url)
        fields = {"decision": "approve", "form": nonce}
        elsewhere: list[tuple[dict[str, str], dict[str, str]]] = [
            ({}, {"Sec-Fetch-Site": "cross-site"}),
            ({}, {"Sec-Fetch-Site": "same-site"}),
            ({}, {"Origin": "https://evil.example"}),
            ({"form": "x" * 43}, {}),
            ({"form": ""}, {}),
        ]
        for changed, headers in elsewhere:
            async with client.post(url, data=fields | changed, headers=headers) as answer:
                assert answer.status == 403, (changed, headers)
        for cookies in ({}, {COOKIE: "x" * 43}):  # none, and one of another page
            async with aiohttp.ClientSession(cookies=cookies) as other, other.post(url, data=fields) as answer:
                assert answer.status == 403
        nonce = await _form(client, url)
        for wrong in ({"decision": "approve!"}, {"decision": "grant:-1"}, {"decision": "deny", "reason": "x" * 2001}):
            async with client.post(url, data={"form": nonce} | wrong) as answer:
                assert answer.status == 400
        async with client.post(url, data={"form": nonce, "decision": "deny", "reason": "x" * 40_000}) as answer:
            assert answer.status == 403  # too large to be read
        assert await gate.state(asked) == "requested"
        async with client.post(url, data={"form": nonce, "decision": "approve"}, allow_redirects=False) as answer:
            assert answer.status == 303
    assert await gate.state(asked) == "approved"


async def test_links_that_are_not_this_persons_decide_nothing(gate: Gate) -> None:
    asked = question(SECURITY)
    await gate.world.ask(asked)
    await gate.world.until_state(asked.approval_id, "requested")
    good = gate.signed(asked, "bob@example.com")
    token = good.rpartition("/")[2]
    head, claims, signature = token.split(".")
    certificate = await _certificate(gate)
    stranger = links.sign(asked.approval_id, ALICE, asked.terms.expires_at, _other_key())
    alices = links.sign(asked.approval_id, ALICE, asked.terms.expires_at, gate.approver.desk.key)
    forged = [
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{alices.split('.')[1]}.{signature}",
        f"{head}.{claims}.",
        "eyJhbGciOiJub25lIn0." + claims + ".",
        certificate,
        stranger,
        "x" * 5000,
    ]
    async with aiohttp.ClientSession(cookie_jar=_jar()) as client:
        nonce = await _form(client, good)
        for bad in forged:
            for ask in (client.get, client.post):
                async with ask(f"{gate.at()}{PATH}{bad}", data={"form": nonce, "decision": "approve"}) as answer:
                    assert answer.status == 404
                    assert "DELETE" not in await answer.text()
        # Alice is not asked, and somebody else is not known any more: their links show no form and decide nothing.
        for address in (ALICE, "gone@example.com"):
            url = gate.signed(asked, address)
            async with client.get(url) as answer:
                assert "<button" not in await answer.text()
            client.cookie_jar.update_cookies({COOKIE: nonce})
            async with client.post(url, data={"form": nonce, "decision": "approve"}) as answer:
                assert "<button" not in await answer.text()
    assert await gate.state(asked) == "requested"
    with pytest.raises(CertificateRejected):
        verify(token, [gate.approver.desk.key])  # nor does a link pass for a certificate


async def _certificate(gate: Gate) -> str:
    other = await gate.world.ask(question())
    await gate.world.until_state(other.approval_id, "requested")
    await gate.world.query(gate.world.token("alice", "dba"), do="approve", approval_id=other.approval_id)
    record = await gate.world.until_state(other.approval_id, "approved")
    assert record.certificate
    return record.certificate


def _other_key() -> Any:
    from joserfc.jwk import OKPKey

    return OKPKey.generate_key("Ed25519")


async def test_once_it_is_over_no_link_moves_it(gate: Gate) -> None:
    expired, own, unknown = question(expires=1), question(), question()
    old = question(now=utc_now() - timedelta(days=2))
    own = own.model_copy(update={"identity": own.identity.model_copy(update={"subject": "alice", "email": ALICE})})
    for asked in (expired, own, old):
        await gate.world.ask(asked)
    for asked in (expired, old):
        await gate.world.until_state(asked.approval_id, "expired")
    await gate.world.until_state(own.approval_id, "requested")
    async with aiohttp.ClientSession(cookie_jar=_jar()) as client:
        for asked, words in ((expired, "Expired"), (own, "your own operation")):
            async with client.get(gate.signed(asked)) as answer:
                page = await answer.text()
                assert words in page
                assert "<button" not in page
        async with client.get(gate.signed(unknown)) as answer:
            assert answer.status == 404
        async with client.get(gate.signed(old)) as answer:
            assert answer.status == 410
            assert "DELETE" not in await answer.text()
    assert await gate.state(own) == "requested"


async def test_the_same_link_counts_once_at_however_many_copies(gate: Gate) -> None:
    second = await gate.world.approver(by_mail(gate.smtp))
    asked = question(DBA.model_copy(update={"quorum": 2}))
    url = await gate.mailed(asked)
    there = url.replace(gate.at(), gate.at(second))

    async def approve(where: str) -> int:
        async with aiohttp.ClientSession(cookie_jar=_jar()) as client:
            nonce = await _form(client, where)
            async with client.post(where, data={"form": nonce, "decision": "approve"}, allow_redirects=False) as answer:
                return answer.status

    # Both are opened before either is pressed, or one finds no form any more.
    results = await asyncio.gather(approve(url), approve(there), return_exceptions=True)
    assert results.count(303) == 1
    record = await gate.world.until_state(asked.approval_id, "partly_approved")
    assert [reviewer.label for reviewer in record.approved_by] == [ALICE]
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        page = await answer.text()
        assert "You have approved this already" in page
        assert "1 more of dba" in page
        assert "<button" not in page


async def test_while_the_bus_is_away_the_page_says_so(gate: Gate) -> None:
    asked = question()
    url = await gate.mailed(asked)
    await gate.world.bus.server.stop()
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 503
        assert "Nothing was done" in await answer.text()
    await gate.world.bus.server.start()
    everybody = (gate.world.policy, gate.world.ingress, gate.approver.client, gate.approver.broker.connection)
    await until(lambda: all(client.is_connected for client in everybody))
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200


def test_what_the_form_says_is_what_is_decided() -> None:
    alice = person("alice", via="email")
    assert decision({"decision": "approve"}, alice) == Approve(alice)
    assert decision({"decision": "grant:900", "reason": " so "}, alice) == Approve(alice, 900, reason="so")
    assert decision({"decision": "deny", "reason": "a\r\nb"}, alice) == Deny(alice, "a\nb")
    assert decision({"decision": "break_glass", "reason": "fire"}, alice) == BreakGlass(alice, "fire")
    for wrong in (
        {},
        {"decision": "grant:0"},
        {"decision": "grant:1e9"},
        {"decision": "grant:inf"},
        {"decision": "Approve"},
    ):
        with pytest.raises(FormRejected):
            decision(wrong, alice)


def test_a_link_names_one_approval_and_one_person() -> None:
    key = _other_key()
    request = question()
    token = links.sign(request.approval_id, ALICE, request.terms.expires_at, key)
    link_ = links.verify(token, key)
    assert (link_.approval_id, link_.address, link_.expires_at) == (
        request.approval_id,
        ALICE,
        request.terms.expires_at,
    )
