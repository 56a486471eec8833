"""`Prefer` (RFC 7240), read alone and honoured by the gateway."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from services.ingress.protocols.http import headers
from services.ingress.protocols.http.preferences import Preferences, for_upstream, parse
from tests.ingress.test_holding import Held, People, people

__all__ = ["people"]  # a fixture


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["wait=10"], Preferences(wait=10)),
        (["respond-async, wait=10"], Preferences(respond_async=True, wait=10)),
        (["Respond-Async; foo=bar", 'WAIT = "3"'], Preferences(respond_async=True, wait=3)),
        (["wait=1, wait=2"], Preferences(wait=1)),
        (["wait=soon, return=minimal"], Preferences()),
        (["wait=-1"], Preferences()),
        (["not-respond-async"], Preferences()),
        (["wait=99999999999"], Preferences()),
    ],
)
def test_preferences_are_read_as_the_rfc_has_them(fields: list[str], expected: Preferences) -> None:
    assert parse(fields) == expected


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (["return=representation, wait=10", "Respond-Async"], "return=representation"),
        (['odata.include-annotations="a,b", wait=1; x=","'], 'odata.include-annotations="a,b"'),
        (["wait=10"], ""),
        (["handling=lenient; a=1,, count=exact"], "handling=lenient; a=1, count=exact"),
    ],
)
def test_what_the_gateway_was_not_asked_goes_to_the_upstream(sent: list[str], passed: str) -> None:
    assert for_upstream(sent) == passed
    received = CIMultiDict([("Prefer", value) for value in sent])
    assert headers.for_upstream(received).get("Prefer", "") == passed


@given(st.lists(st.text(max_size=40), max_size=4), st.floats(0, 300))
def test_whatever_is_sent_nobody_waits_longer_than_the_settings_say(fields: list[str], most: float) -> None:
    found = parse(fields)
    assert 0 <= found.patience(most) <= most
    assert found.applied(found.patience(most)).isascii()


async def test_respond_async_with_a_wait_gives_people_that_long(people: People) -> None:
    held = Held(people.gateway)
    async with people.gateway.call(
        "POST", "/vendor/pay", data=b'{"amount": 5}', headers={"Prefer": "respond-async, wait=1"}
    ) as reply:
        body = await reply.json()
        assert (reply.status, body["approval_id"]) == (202, held.approval_id)
        assert reply.headers["Preference-Applied"] == "respond-async, wait=1"
        assert reply.headers["Location"] == f"/-/approvals/{held.approval_id}"
        assert int(reply.headers["Retry-After"]) > 0
        assert body["reason"] == "a person has to look at this"
    assert (await people.gateway.outcome())["outcome"] == "deferred"
    status, _ = await _approved(people, held)
    assert status == 200


async def _approved(people: People, held: Held) -> tuple[int, dict]:
    await people.approve(await held.attempt(), held.approval_id)
    return await held.send(headers={"Countersign-Approval": held.approval_id})


async def test_a_wait_that_ends_says_where_the_question_is(people: People) -> None:
    held = Held(people.gateway)
    async with people.gateway.call("POST", "/vendor/pay", data=b"{}", headers={"Prefer": "wait=1"}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (403, "approval_pending")
        assert reply.headers["Preference-Applied"] == "wait=1"
        assert reply.headers["Location"] == f"/-/approvals/{held.approval_id}"
        assert "Retry-After" in reply.headers
