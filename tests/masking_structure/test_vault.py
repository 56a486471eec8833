"""Placeholders across requests: stored sealed before the text goes out, restored on the way to whom the rule allows."""

from __future__ import annotations

import json

import pytest
from nats.errors import Error as NatsError

from schemas import subjects
from schemas.verdicts import MaskObligation
from services.ingress.content import Content, media_type
from services.ingress.errors import Denied, GatewayError
from services.ingress.inspection import Inspector
from services.ingress.vault import open_vault
from services.runtime.nats.provision import VAULT_BYTES
from tests.conftest import Bus

KEY = b"k" * 32
SECRET = b"s" * 43
TOKENS = MaskObligation(request=("pii", "financial"), response=("pii", "financial"), style="token")
RESTORE = MaskObligation(restore=True)


def content(data: bytes, declared: str = "application/json") -> Content:
    return Content(data, media_type(declared))


async def test_a_value_comes_back_where_the_rule_restores_and_nowhere_else(bus: Bus) -> None:
    vault = await open_vault((await bus.connect("ingress")).jetstream(), SECRET)
    inspector = Inspector(KEY)
    masked = inspector.mask(content(b'{"to":"bob\\u0040example.com","card":4111111111111111}'), TOKENS)
    await vault.store(masked.pairs)
    assert set(masked.pairs.values()) == {"bob@example.com", "4111111111111111"}
    assert b"bob" not in masked.data
    other = await open_vault((await bus.connect("ingress")).jetstream(), SECRET)
    known = await other.lookup(inspector.placeholders(content(masked.data)))
    restored = inspector.mask(content(masked.data), RESTORE, known)
    assert json.loads(restored.data) == {"to": "bob@example.com", "card": "4111111111111111"}


async def test_the_bucket_holds_nothing_readable_and_only_ingress_reads_it(bus: Bus) -> None:
    jetstream = (await bus.connect("ingress")).jetstream()
    await (await open_vault(jetstream, SECRET)).store({"EMAIL_abcdefghijklmnop": "bob@example.com"})
    bucket = await jetstream.key_value(subjects.VAULT_BUCKET)
    entry = await bucket.get("EMAIL_abcdefghijklmnop")
    assert b"bob" not in (entry.value or b"")
    assert (await bucket.status()).stream_info.config.max_bytes == VAULT_BYTES
    recorder = (await bus.connect("recorder")).jetstream(timeout=0.5)
    with pytest.raises((NatsError, TimeoutError)):
        await recorder.key_value(subjects.VAULT_BUCKET)


async def test_a_sealed_value_fits_no_other_name_and_no_other_key(bus: Bus) -> None:
    jetstream = (await bus.connect("ingress")).jetstream()
    vault = await open_vault(jetstream, SECRET)
    await vault.store({"EMAIL_abcdefghijklmnop": "bob@example.com"})
    bucket = await jetstream.key_value(subjects.VAULT_BUCKET)
    entry = await bucket.get("EMAIL_abcdefghijklmnop")
    await bucket.put("EMAIL_ponmlkjihgfedcba", entry.value or b"")
    with pytest.raises(GatewayError):
        await vault.lookup(["EMAIL_ponmlkjihgfedcba"])
    with pytest.raises(GatewayError):
        await (await open_vault(jetstream, b"o" * 43)).lookup(["EMAIL_abcdefghijklmnop"])


async def test_what_nobody_stored_stays_a_placeholder(bus: Bus) -> None:
    vault = await open_vault((await bus.connect("ingress")).jetstream(), SECRET)
    body = content(b"ask EMAIL_abcdefghijklmnop", "text/plain")
    inspector = Inspector(KEY)
    known = await vault.lookup(inspector.placeholders(body))
    assert inspector.mask(body, RESTORE, known).data == body.raw


async def test_without_the_bus_nothing_is_stored_and_that_is_said(bus: Bus) -> None:
    client = await bus.connect("ingress")
    vault = await open_vault(client.jetstream(), SECRET)
    await client.close()
    with pytest.raises(GatewayError) as refused:
        await vault.store({"EMAIL_abcdefghijklmnop": "bob@example.com"})
    assert refused.value.status == 503


def test_restoring_without_a_vault_is_refused() -> None:
    with pytest.raises(Denied):
        Inspector(KEY).mask(content(b"{}"), RESTORE)


@pytest.mark.parametrize(
    ("declared", "body", "expected"),
    [
        ("application/json", '{{"a":"{} x"}}', b'{"a":"a\\"b\\n\\u00e9 x"}'),
        ("application/x-www-form-urlencoded", "a={}&b=1", b"a=a%22b%0A%C3%A9&b=1"),
        ("text/plain", "say {}", 'say a"b\né'.encode()),
        ("text/xml", "<a b='{}'/>", "<a b='a&quot;b\né'/>".encode()),
    ],
)
def test_a_restored_value_is_written_as_its_place_wants_it(declared: str, body: str, expected: bytes) -> None:
    token = "EMAIL_abcdefghijklmnop"
    masked = Inspector(KEY).mask(content(body.format(token).encode(), declared), RESTORE, {token: 'a"b\né'})
    assert masked.data == expected


def test_a_streamed_reply_hands_over_the_pairs_of_what_passes() -> None:
    masker = Inspector(KEY).reply(media_type("application/json"), "", TOKENS)
    assert masker
    out = masker.feed(b'{"to":"bob@example.com", ')
    pairs = masker.take_pairs()
    assert list(pairs.values()) == ["bob@example.com"]
    assert next(iter(pairs)).encode() in out
    assert masker.take_pairs() == {}
