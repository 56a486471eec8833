"""The upstreams' credentials stay in ingress (G3): looked for in everything that anybody else could read."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tests.guarantees.agents import Agents
from tests.guarantees.record import Audit, Unavailable, drained
from tests.guarantees.stack import CREDENTIAL, CREDENTIAL_VARIABLE, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Tables of keys to sealed content, which are not open to readers.
KEYS = {"session_keys", "keyring"}
#: As it may be written: itself, and inside Base64 at each of the three offsets that it can have there.
SHAPES = [CREDENTIAL, *(base64.b64encode(b"." * n + CREDENTIAL.encode()).decode()[4:-4] for n in range(3))]


def shows(text: str | bytes) -> list[str]:
    """The shapes of the credential that stand in it."""
    raw = text.encode() if isinstance(text, str) else text
    return [shape for shape in SHAPES if shape.encode() in raw]


def processes(stack: Stack) -> Iterator[tuple[str, psutil.Process]]:
    assert stack.nats.process
    yield "nats", psutil.Process(stack.nats.process.pid)
    for copy in stack.copies.values():
        assert copy.process
        yield copy.role, psutil.Process(copy.process.pid)


def files(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that stands there long enough to be read: NATS makes temporary ones."""
    for place, _, names in os.walk(directory):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and "clickhouse" not in path.parts:
                    yield path, path.read_bytes()


def redirect(request: web.Request) -> web.Response:
    """As frameworks do for a missing slash: to the same address, the query with it."""
    return web.Response(status=308, headers={"Location": f"{request.rel_url.raw_path}/?{request.query_string}"})


async def test_an_upstream_gets_it_and_nobody_else_ever_sees_it(stack: Stack) -> None:
    agents = Agents(stack)
    replies = [
        await agents.post("charges", agents.nonce()),
        await agents.call("DELETE", "/vendor/charges/1"),
        await agents.call("POST", "/gone/charges/1", json={}),
        await agents.call("POST", "/gone-query/charges/1?page=2", json={}),
        await agents.call("POST", "/query/charges/1?key=mine", json={"nonce": "1"}),
        await agents.call("POST", "/nowhere/charges/1", json={}),
        await agents.call("GET", "/-/metrics"),
        await agents.call("GET", "/-/approvals"),
    ]
    assert [reply.status for reply in replies] == [200, 403, 502, 502, 200, 404, 200, 200]
    assert stack.upstream.credentials.keys() == {f"Bearer {CREDENTIAL}", ""}
    assert stack.upstream.queries[-1] == {"key": CREDENTIAL}
    await drained(stack)
    assert not shows(repr(replies))
    assert not shows(stack.logs())
    assert [path for path, held in files(stack.data.root) if shows(held)] == [], "streams, buckets, keys"
    for name, process in processes(stack):
        assert not shows(" ".join(process.cmdline())), name
        assert (CREDENTIAL_VARIABLE in process.environ()) == (name == "ingress"), name


async def test_a_redirect_does_not_hand_it_to_the_agent(stack: Stack) -> None:
    stack.upstream.answer = redirect
    try:
        reply = await Agents(stack).call("POST", "/query/charges/1?page=2", json={"nonce": "1"})
    finally:
        stack.upstream.answer = None
    assert (reply.status, reply.headers["Location"]) == (308, "/query/charges/1/?page=2")


def echo(request: web.Request) -> web.Response:
    """As debugging endpoints and some error messages do."""
    return web.json_response(
        {"url": str(request.rel_url), **request.headers}, headers={"X-Debug": str(request.headers)}
    )


@pytest.mark.parametrize("connector", ["vendor", "query"])
async def test_an_upstream_that_repeats_it_does_not_hand_it_to_the_agent(stack: Stack, connector: str) -> None:
    stack.upstream.answer = echo
    try:
        reply = await Agents(stack).call("POST", f"/{connector}/charges/1?page=2", json={"nonce": "1"})
    finally:
        stack.upstream.answer = None
    assert (reply.status, reply.body["url"][:20]) == (
        200,
        "/charges/1?page=2&ke" if connector == "query" else "/charges/1?page=2",
    )
    assert not shows(repr(reply))


async def test_passwords_and_tokens_are_in_no_log_and_no_command_line(stack: Stack) -> None:
    secrets = [*stack.passwords.values(), stack.data.audit_password.read_text(), *stack.tokens]
    shown = stack.logs() + " ".join(" ".join(process.cmdline()) for _, process in processes(stack))
    assert not [secret[:4] for secret in secrets if secret in shown]


async def test_none_of_it_is_in_a_table(stack: Stack) -> None:
    audit = Audit(stack)
    for row in await audit.sql("SELECT name FROM system.tables WHERE database = currentDatabase()"):
        if row["name"] in KEYS:
            with pytest.raises(Unavailable, match="ACCESS_DENIED"):
                await audit.sql(f"SELECT * FROM {row['name']}")
            continue
        assert not shows(json.dumps(await audit.sql(f"SELECT * FROM {row['name']}"))), row["name"]
