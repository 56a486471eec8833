"""A replication connection: refused unless a rule says otherwise, and then a session like any other."""

import pytest

from services.ingress.protocols.postgres.codec import frontend
from tests.postgres.gateway import Gateway
from tests.postgres.wire import TRUSTED, errors, kinds, through

STATEMENTS_ONLY = "rules:\n  - {name: sql, when: 'action == \"sql.select\"', allow: true}\n"
ALL_MASKED = "rules:\n  - {name: all, when: 'true', allow: true, mask: {response: [pii]}}\n"


@pytest.mark.parametrize("policy", [STATEMENTS_ONLY, ALL_MASKED], ids=["no rule", "a mask"])
async def test_it_is_refused(gateway: Gateway, policy: str) -> None:
    await gateway.boot(policy)
    with pytest.raises(AssertionError, match="42501"):
        async with through(gateway, replication="database"):
            pass
    [outcome] = await gateway.outcomes()
    assert outcome["outcome"] == "denied"
    assert gateway.attempts[0].operation.action == "sql.replication"


async def test_allowed_it_streams_both_ways(gateway: Gateway) -> None:
    await gateway.boot(connector={"credential": {"user": TRUSTED}})
    gateway.server.execute(f"ALTER ROLE {TRUSTED} REPLICATION")
    gateway.server.execute("CREATE PUBLICATION p FOR ALL TABLES; CREATE TABLE t (n int PRIMARY KEY)", gateway.database)
    async with through(gateway, replication="database") as wire:
        assert kinds(await wire.query("IDENTIFY_SYSTEM")) == "TDCZ"
        slot = await wire.query("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput")
        assert kinds(slot) == "TDCZ", errors(slot)
        gateway.server.execute("INSERT INTO t VALUES (7)", gateway.database)
        wire.send(frontend.Query(b"START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')"))
        assert kinds([await wire.next()]) == "W"
        heard = b""
        while b"\x00\x00\x00\x017" not in heard:  # the inserted row, as text, within an Insert message
            heard += (await wire.next()).data
        wire.send(frontend.CopyDone())
        assert kinds(await wire.until_ready()).endswith("CZ")
    started = await gateway.until_event("OperationFinished", lambda event: event["response_bytes"] > 50)
    assert started["outcome"] == "forwarded"
