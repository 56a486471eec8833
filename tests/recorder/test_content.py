"""Content apart from its event (content.py), sealed, read by the views, and gone when its key is."""

import os
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import ContentErased, Outcome, Refusal
from schemas.operations import Asked, Operation
from services.recorder.content import CONTENT, Unreadable, cut, restored, seal, unseal
from services.recorder.keyring import Keyring
from services.recorder.rows import build
from tests.recorder import events as e
from tests.recorder.recording import Moody, database, record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    statement=st.text(max_size=50),
    path=st.text(max_size=20),
    query=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    attributes=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    reason=st.text(max_size=10),
    with_path=st.booleans(),
)
def test_the_parts_of_an_attempt_give_its_bytes(
    statement: str, path: str, query: dict[str, str], attributes: dict[str, object], reason: str, with_path: bool
) -> None:
    resources = ("orders.customers", path) if with_path else ("orders.customers",)
    operation = Operation(
        action="http.get",
        resources=resources,
        statement=f"@{statement}@",
        path=path,
        query=query,
        attributes=attributes,
        digest="d",
    )
    data = e.encoded(e.attempt(operation=operation, asked=Asked(reason=reason)))
    parts = cut(data, "OperationAttempted")
    assert restored(*parts) == data
    assert f"@{statement}@".encode() not in parts.raw
    if parts.raw and path and with_path:
        assert orjson.loads(parts.raw)["operation"]["resources"] is None
    if parts.raw and not path:
        assert b"orders.customers" in parts.raw


@given(data=st.binary(max_size=200) | JSON.map(lambda value: orjson.dumps(value, option=0) if _plain(value) else b"{"))
@pytest.mark.parametrize("kind", [*CONTENT, "SessionOpened"])
def test_any_bytes_can_be_put_together_again(kind: str, data: bytes) -> None:
    if kind in CONTENT and not data.startswith(b"{"):
        return  # what is no JSON object is no event: a dead letter, content whole
    assert restored(*cut(data, kind)) == data


def _plain(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@given(content=st.binary(max_size=100), other=st.binary(max_size=100))
def test_a_seal_opens_with_its_key_for_its_event_only(content: bytes, other: bytes) -> None:
    key = os.urandom(32)
    sealed = seal(key, "event-1", content)
    assert sealed == seal(key, "event-1", content)
    assert unseal(key, "event-1", sealed) == content
    for wrong in (
        lambda: unseal(os.urandom(32), "event-1", sealed),
        lambda: unseal(key, "event-2", sealed),
        lambda: unseal(key, "event-1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        lambda: unseal(key, "event-1", sealed[:7]),
    ):
        with pytest.raises(Unreadable):
            wrong()
    if content != other:
        assert sealed[:12] != seal(key, "event-1", other)[:12]


@pytest.fixture
async def store(engine_dsn: str) -> AsyncIterator[Moody]:
    async with database(engine_dsn) as store:
        yield store


@pytest.mark.usefixtures("open_engine")
async def test_the_views_open_what_the_tables_hold_sealed(store: Moody) -> None:
    operation = Operation(
        action="http.post",
        resources=("/v1/refunds",),
        statement="refund 4711",
        method="POST",
        path="/v1/refunds",
        query={"q": "x"},
        attributes={"model": "gpt-5"},
        digest="d",
    )
    tried = e.attempt(operation=operation, asked=Asked(reason="the customer asked"))
    refusal = e.outcome(
        e.attempt(), connector="-", outcome=Outcome.DENIED, refusal=Refusal(code="malformed", statement="GET /nope/x")
    )
    frames = [
        e.frame(1, data="prompt"),
        e.frame(2, data="AAH/", encoding="base64", session_id=tried.session_id),
    ]
    await record(store, [tried, e.outcome(tried), refusal, e.approval_request(tried)])
    await record(store, frames, "RECORDING")
    stored = await store.raw_query(
        "SELECT raw, content FROM events LEFT JOIN attempts USING event_id UNION ALL SELECT raw, content "
        "FROM session_frames UNION ALL SELECT raw, content FROM events JOIN outcomes USING event_id",
        "RowBinary",
    )
    for content in (b"refund", b"customer asked", b"gpt-5", b"/nope", b"prompt", b"AAH/"):
        assert content not in stored
    rows = {row["operation_id"]: row for row in await store.query("SELECT * FROM operations")}
    assert rows[tried.operation_id]["statement"] == "refund 4711"
    assert rows[tried.operation_id]["resources"] == ["/v1/refunds"]
    assert rows[refusal.operation_id]["statement"] == "GET /nope/x"
    (details,) = await store.query("SELECT * FROM attempt_details")
    assert (details["path"], details["query"], details["attributes"]) == (
        "/v1/refunds",
        '{"q":"x"}',
        '{"model":"gpt-5"}',
    )
    assert details["caller_reason"] == "the customer asked"
    asked = await store.query("SELECT statement FROM approval_details")
    assert [row["statement"] for row in asked] == ["refund 4711"]
    seen = await store.query("SELECT hex(data) AS data FROM frames ORDER BY seq")
    assert [bytes.fromhex(row["data"]) for row in seen] == [b"prompt", b"\x00\x01\xff"]
    for event in (tried, refusal, *frames):
        (row,) = await store.query(
            "SELECT raw, content FROM event_bytes WHERE event_id = {e:String}", {"e": event.event_id}
        )
        assert restored(row["raw"].encode(), row["content"].encode()) == e.encoded(event)


@pytest.mark.usefixtures("open_engine")
async def test_without_its_key_content_is_erased_and_stays_so(store: Moody) -> None:
    tried, other = e.attempt(), e.attempt()
    await record(store, [tried, other])
    assert len(await store.query("SELECT * FROM operations WHERE statement = 'Summarise the contract'")) == 2
    erasure = ContentErased(ingress="", session_id=tried.session_id, by="dpo@example.com")
    await record(store, [erasure])
    await store.command(
        f"ALTER TABLE session_keys DELETE WHERE session_id = '{tried.session_id}' SETTINGS mutations_sync = 2"
    )
    await store.command("SYSTEM RELOAD DICTIONARY keyring")
    late = e.attempt(session_id=tried.session_id)
    await record(store, [late])
    told = {row["operation_id"]: row["statement"] for row in await store.query("SELECT * FROM operations")}
    assert told == {
        tried.operation_id: "[erased]",
        late.operation_id: "[erased]",
        other.operation_id: "Summarise the contract",
    }
    (row,) = await store.query("SELECT requested_by, keys_left FROM erased_sessions")
    assert (row["requested_by"], row["keys_left"]) == ("dpo@example.com", 0)
    # A batch that is repeated after a crash gives the same rows, of an erased session too.
    rows = build(e.deliveries([late], 9), "AUDIT", 1)
    once = await Keyring(store).sealed(rows, "AUDIT", "once")
    assert await Keyring(store).sealed(rows, "AUDIT", "again") == once


@pytest.mark.usefixtures("open_engine")
async def test_a_key_is_what_is_stored_whoever_made_it(store: Moody) -> None:
    first = await Keyring(store).keys(["s1", "s2"], "AUDIT", "AUDIT:1:0-9")
    assert len(set(first.values())) == 2
    assert await Keyring(store).keys(["s2", "s3", "s1"], "AUDIT", "AUDIT:1:0-9") == first | {
        "s3": (await Keyring(store).keys(["s3"], "AUDIT", "later"))["s3"]
    }
    assert (await Keyring(store).keys(["s1"], "RECORDING", "x"))["s1"] != first["s1"]
